"""Measures: host functions of :class:`~collapse_logging.statistics.Statistics`.

Natural logarithms throughout (nats). mu and sigma^2 are the posterior's mean and variance, the
prior is N(0, 1), ``t = Var mu + E sigma^2`` is the variance of the aggregated posterior.
A latent with positions is read position by position: variances are averaged over positions,
information and KL, which are amounts, are summed over them (weighted by how many samples have
the position). Every function is exact in float64 given the fp32 sums.
"""

from __future__ import annotations

import math

import numpy as np

from . import cells
from .cells import Source, once
from .report import Vector

ACTIVE_VARIANCE = 0.01
"""A unit is active when Var mu is above this (Burda, Grosse and Salakhutdinov 2016)."""

INFORMATIVE_FRACTION = 0.05
"""A unit is informative when its signal fraction is above this: 0.026 nats."""

_GROWTH_CLIP = 1e3
_QUANTILES = np.array([0.1, 0.5, 0.9])


@once
def information(statistics: Source) -> Vector:
    """U_j = 1/2 [ln t_j - E ln sigma_j^2] in nats, ``[units]``; its sum bounds I(x; z) from above.

    A small sum is a certificate of collapse: free bits, constant offsets, a learned
    unconditional prior or a rescaling cannot fake it.

    Source: Hoffman and Johnson 2016 with a Gaussian bound on the aggregated posterior's entropy.

    >>> import torch
    >>> from collapse_logging.posterior import Posterior
    >>> from collapse_logging.statistics import Statistics
    >>> statistics = Statistics(positions=1, units=1)
    >>> _ = statistics.update(Posterior(torch.tensor([[-3.0], [3.0]]), torch.zeros(2, 1)))
    >>> information(statistics).round(4).tolist()  # 1/2 ln(9 + 1)
    [1.1513]
    """
    shift, log_variance, mean_log_variance = cells.shifted_log_variance(statistics)
    signal = cells.mean_variance(statistics) * np.exp(-shift)
    log_t = np.log(signal + np.exp(log_variance))
    return cells.summed(statistics, np.fmax(0.5 * (log_t - mean_log_variance), 0.0))


@once
def kl(statistics: Source) -> Vector:
    """KL_j = 1/2 E[mu^2 + sigma^2 - 1 - ln sigma^2] in nats, ``[units]``; what the loss pays.

    KL_j = U_j + M_j with the mismatch M_j >= 0, so KL is not information.

    Source: Kingma and Welling 2014, appendix B.
    """
    shift, log_variance, mean_log_variance = cells.shifted_log_variance(statistics)
    excess = np.exp(shift) * np.expm1(log_variance) + np.expm1(shift) - shift - mean_log_variance
    second_moment = cells.mean(statistics) ** 2 + cells.mean_variance(statistics)
    return cells.summed(statistics, np.fmax(0.5 * (second_moment + excess), 0.0))


@once
def mean_variance(statistics: Source) -> Vector:
    """Var mu_j over samples, ``[units]``: 0 in a collapse (Burda et al. 2016)."""
    return cells.averaged(statistics, cells.mean_variance(statistics))


@once
def within_batch_variance(statistics: Source) -> Vector:
    """Var mu_j within batches, ``[units]``; NaN where no batch had two samples.

    Far below :func:`mean_variance` when a bias drifts or batches hold one subject each.
    """
    return cells.averaged(statistics, cells.within_batch_variance(statistics))


@once
def posterior_variance(statistics: Source) -> Vector:
    """E sigma_j^2, ``[units]``: 1, the prior's, in a collapse; near 0 for a sharp, live unit."""
    shift, log_variance, _ = cells.shifted_log_variance(statistics)
    return cells.averaged(statistics, np.exp(shift + log_variance))


@once
def signal_fraction(statistics: Source) -> Vector:
    """s_j = Var mu_j / t_j in [0, 1], ``[units]``: free of the latent's scale."""
    signal = mean_variance(statistics)
    total = signal + posterior_variance(statistics)
    return np.divide(signal, total, out=np.zeros_like(signal), where=total > 0)


@once
def active_units(statistics: Source) -> int:
    """How many units have Var mu_j > 0.01 (Burda et al. 2016); a lax test: 0.005 nats."""
    return int(np.count_nonzero(mean_variance(statistics) > ACTIVE_VARIANCE))


@once
def informative_units(statistics: Source) -> int:
    """How many units have a signal fraction above 0.05 (0.026 nats)."""
    return int(np.count_nonzero(signal_fraction(statistics) > INFORMATIVE_FRACTION))


def passive_units(statistics: Source, var_threshold: float = 0.1) -> int:
    """How many units have E sigma_j^2 within ``var_threshold`` of the prior's 1.

    Source: Bonheme and Grzes 2023 (active, mixed and passive variables).
    """
    distance = np.abs(posterior_variance(statistics) - 1.0)
    return int(np.count_nonzero(distance < var_threshold))


@once
def growth(statistics: Source) -> Vector:
    """Where training pushes: a t value a unit, and the whole latent's last, ``[units + 1]``.

    g_j of a step is ``-sum_b (mu_bj - mean_b mu_bj) dL/dmu_bj``; over the window's steps growth
    is mean(g) / (sd(g) / sqrt(steps)). Positive: the loss wants the means spread further, the
    latent is coming alive. Negative: it wants them shrunk. NaN: fewer than two steps with a
    gradient, or a gradient that is exactly zero. Clipped to +-1000.

    The sign is that of d(spread)/dt under gradient descent, whatever the loss's scale.
    """
    g, gg, steps = cells.growth_steps(statistics)
    n = np.maximum(steps, 2.0)
    mean = g / n
    variance = np.maximum(gg / n - mean**2, 0.0) * n / (n - 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(variance / n)
    t = np.where((steps >= 2) & (mean != 0), t, np.nan)
    clipped: Vector = np.minimum(np.maximum(t, -_GROWTH_CLIP), _GROWTH_CLIP)
    return clipped


def scalars(statistics: Source) -> dict[str, float]:
    """Every scalar measure of a latent by name; growth is absent where it cannot be taken."""
    read = cells.reading(statistics)
    unread, clamped = cells.nonfinite(read), cells.clamped(read)
    if samples(read) == 0:
        return {"samples": 0.0, "nonfinite": unread}
    total_information, total_kl = _total(information(read)), _total(kl(read))
    values = {
        "information": total_information,
        "kl": total_kl,
        "mismatch": max(total_kl - total_information, 0.0),
        "active_units": float(active_units(read)),
        "active_fraction": active_units(read) / read.sums.shape[2],
        "informative_units": float(informative_units(read)),
        "passive_units": float(passive_units(read)),
        "growth": float(growth(read)[-1]),
        "samples": samples(read),
        **_spread("posterior_variance", posterior_variance(read)),
        **_spread("mean_variance", mean_variance(read)),
    }
    if drifts(read):
        values["within_batch_variance"] = _mean(_known(within_batch_variance(read)))
    if unread or clamped:
        values |= {"nonfinite": unread, "clamped": clamped}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def per_unit(statistics: Source) -> dict[str, Vector]:
    """Every per-unit measure by name, ``[units]`` each."""
    read = cells.reading(statistics)
    return {
        "information": information(read),
        "kl": kl(read),
        "posterior_variance": posterior_variance(read),
        "mean_variance": mean_variance(read),
        "growth": growth(read)[:-1],
    }


def samples(statistics: Source) -> float:
    """Samples in the window: the best filled position's count."""
    return cells.samples(statistics)


@once
def dimensions(statistics: Source) -> float:
    """Units times the positions that an average sample has."""
    return float(cells.count(statistics).sum()) * cells.weight(statistics)


def trend(losses: list[float]) -> tuple[float, float] | None:
    """Rise of the loss over the window as a share of its mean, and the slope's t value.

    The slope is tested against its own standard error: a fixed limit on the slope itself is a
    coin flip on a noisy loss. None with fewer than 20 losses.

    Source: ordinary least squares.
    """
    n = len(losses)
    if n < 20:
        return None
    steps, squares = np.arange(n) - (n - 1) / 2.0, n * (n * n - 1) / 12.0
    values = np.array(losses)
    mean, slope = float(values.sum()) / n, float(steps @ values) / squares
    residual = values - mean - slope * steps
    error = math.sqrt(float(residual @ residual) / (n - 2) / squares)
    rise = slope * n / max(abs(mean), 1e-12)
    return rise, slope / error if error > 0 else math.copysign(math.inf, slope)


@once
def drifts(statistics: Source) -> bool:
    """Whether total and within-batch Var mu differ by more than half.

    Then a bias moved within the window, or each batch held one subject: the total variance
    says more than the latent carries, or the batches less than the data.
    """
    within = np.add.reduce(within_batch_variance(statistics))
    total = np.add.reduce(mean_variance(statistics))
    return bool(within < 0.5 * total or total < 0.5 * within)


def _known(values: Vector) -> Vector:
    """The units that were ever finite."""
    known: Vector = values[np.isfinite(values)]
    return known


def _total(values: Vector) -> float:
    return float(np.add.reduce(values, where=~np.isnan(values)))


def _mean(known: Vector) -> float:
    return float(np.add.reduce(known)) / known.size if known.size else math.nan


def _spread(name: str, values: Vector) -> dict[str, float]:
    """Mean, and 10 %, 50 % and 90 % quantiles, over units that were ever finite."""
    known = _known(values)
    if not known.size:
        return {}
    known.sort()
    # as np.quantile does it, which takes twenty times as long over a latent's few units
    places = _QUANTILES * (known.size - 1)
    low, middle, high = np.interp(places, np.arange(known.size), known).tolist()
    quantiles = {f"{name}_p10": low, f"{name}_p50": middle, f"{name}_p90": high}
    return {name: _mean(known), **quantiles}
