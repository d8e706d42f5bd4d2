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
from .report import Vector
from .statistics import Statistics

ACTIVE_VARIANCE = 0.01
"""A unit is active when Var mu is above this (Burda, Grosse and Salakhutdinov 2016)."""

INFORMATIVE_FRACTION = 0.05
"""A unit is informative when its signal fraction is above this: 0.026 nats."""

_GROWTH_CLIP = 1e3


def information(statistics: Statistics) -> Vector:
    """U_j = 1/2 [ln t_j - E ln sigma_j^2] in nats, ``[units]``; its sum bounds I(x; z) from above.

    A small sum is a certificate of collapse: free bits, constant offsets, a learned
    unconditional prior or a rescaling cannot fake it.

    Source: Hoffman and Johnson 2016 with a Gaussian bound on the aggregated posterior's entropy.

    >>> import torch
    >>> from collapse_logging.posterior import Posterior
    >>> statistics = Statistics(positions=1, units=1)
    >>> _ = statistics.update(Posterior(torch.tensor([[-3.0], [3.0]]), torch.zeros(2, 1)))
    >>> information(statistics).round(4).tolist()  # 1/2 ln(9 + 1)
    [1.1513]
    """
    shift, log_variance, mean_log_variance = cells.shifted_log_variance(statistics)
    signal = cells.mean_variance(statistics) * np.exp(-shift)
    log_t = np.log(signal + np.exp(log_variance))
    return _summed(statistics, np.maximum(0.5 * (log_t - mean_log_variance), 0.0))


def kl(statistics: Statistics) -> Vector:
    """KL_j = 1/2 E[mu^2 + sigma^2 - 1 - ln sigma^2] in nats, ``[units]``; what the loss pays.

    KL_j = U_j + M_j with the mismatch M_j >= 0, so KL is not information.

    Source: Kingma and Welling 2014, appendix B.
    """
    shift, log_variance, mean_log_variance = cells.shifted_log_variance(statistics)
    excess = np.exp(shift) * np.expm1(log_variance) + np.expm1(shift) - shift - mean_log_variance
    second_moment = cells.mean(statistics) ** 2 + cells.mean_variance(statistics)
    return _summed(statistics, np.maximum(0.5 * (second_moment + excess), 0.0))


def mean_variance(statistics: Statistics) -> Vector:
    """Var mu_j over samples, ``[units]``: 0 in a collapse (Burda et al. 2016)."""
    return _averaged(statistics, cells.mean_variance(statistics))


def within_batch_variance(statistics: Statistics) -> Vector:
    """Var mu_j within batches, ``[units]``; NaN where no batch had two samples.

    Far below :func:`mean_variance` when a bias drifts or batches hold one subject each.
    """
    return _averaged(statistics, cells.within_batch_variance(statistics))


def posterior_variance(statistics: Statistics) -> Vector:
    """E sigma_j^2, ``[units]``: 1, the prior's, in a collapse; near 0 for a sharp, live unit."""
    shift, log_variance, _ = cells.shifted_log_variance(statistics)
    return _averaged(statistics, np.exp(shift + log_variance))


def signal_fraction(statistics: Statistics) -> Vector:
    """s_j = Var mu_j / t_j in [0, 1], ``[units]``: free of the latent's scale."""
    signal = mean_variance(statistics)
    total = signal + posterior_variance(statistics)
    return np.divide(signal, total, out=np.zeros_like(signal), where=total > 0)


def active_units(statistics: Statistics) -> int:
    """How many units have Var mu_j > 0.01 (Burda et al. 2016); a lax test: 0.005 nats."""
    return int((mean_variance(statistics) > ACTIVE_VARIANCE).sum())


def informative_units(statistics: Statistics) -> int:
    """How many units have a signal fraction above 0.05 (0.026 nats)."""
    return int((signal_fraction(statistics) > INFORMATIVE_FRACTION).sum())


def passive_units(statistics: Statistics, var_threshold: float = 0.1) -> int:
    """How many units have E sigma_j^2 within ``var_threshold`` of the prior's 1.

    Source: Bonheme and Grzes 2023 (active, mixed and passive variables).
    """
    return int((np.abs(posterior_variance(statistics) - 1.0) < var_threshold).sum())


def growth(statistics: Statistics) -> Vector:
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
    return np.clip(t, -_GROWTH_CLIP, _GROWTH_CLIP)


def scalars(statistics: Statistics) -> dict[str, float]:
    """Every scalar measure of a latent by name; growth is absent where it cannot be taken."""
    signal, variance = mean_variance(statistics), posterior_variance(statistics)
    total_information = float(np.nansum(information(statistics)))
    total_kl = float(np.nansum(kl(statistics)))
    active = active_units(statistics)
    values = {
        "information": total_information,
        "kl": total_kl,
        "mismatch": max(total_kl - total_information, 0.0),
        "active_units": float(active),
        "active_fraction": active / statistics.units,
        "informative_units": float(informative_units(statistics)),
        "passive_units": float(passive_units(statistics)),
        "posterior_variance": _mean_of_known(variance),
        "mean_variance": _mean_of_known(signal),
        "growth": float(growth(statistics)[-1]),
        "samples": samples(statistics),
        **_quantiles("posterior_variance", variance),
        **_quantiles("mean_variance", signal),
    }
    if drifts(statistics):
        values["within_batch_variance"] = _mean_of_known(within_batch_variance(statistics))
    if values["samples"] == 0:
        return {"samples": 0.0, "nonfinite": cells.nonfinite(statistics)}
    if cells.nonfinite(statistics) or cells.clamped(statistics):
        values |= {"nonfinite": cells.nonfinite(statistics), "clamped": cells.clamped(statistics)}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def per_unit(statistics: Statistics) -> dict[str, Vector]:
    """Every per-unit measure by name, ``[units]`` each."""
    return {
        "information": information(statistics),
        "kl": kl(statistics),
        "posterior_variance": posterior_variance(statistics),
        "mean_variance": mean_variance(statistics),
        "growth": growth(statistics)[:-1],
    }


def samples(statistics: Statistics) -> float:
    """Samples in the window: the best filled position's count."""
    return float(cells.count(statistics).max(initial=0.0))


def dimensions(statistics: Statistics) -> float:
    """Units times the positions that an average sample has."""
    return float(cells.count(statistics).sum()) * _weight(statistics)


def trend(losses: list[float]) -> tuple[float, float] | None:
    """Rise of the loss over the window as a share of its mean, and the slope's t value.

    The slope is tested against its own standard error: a fixed limit on the slope itself is a
    coin flip on a noisy loss. None with fewer than 20 losses.

    Source: ordinary least squares.
    """
    n = len(losses)
    if n < 20:
        return None
    steps = np.arange(n) - (n - 1) / 2.0
    values = np.asarray(losses, dtype=np.float64)
    slope = float(steps @ values / (steps @ steps))
    residual = values - values.mean() - slope * steps
    error = math.sqrt(float(residual @ residual) / (n - 2) / float(steps @ steps))
    rise = slope * n / max(abs(float(values.mean())), 1e-12)
    return rise, slope / error if error > 0 else math.copysign(math.inf, slope)


def drifts(statistics: Statistics) -> bool:
    """Whether total and within-batch Var mu differ by more than half.

    Then a bias moved within the window, or each batch held one subject: the total variance
    says more than the latent carries, or the batches less than the data.
    """
    within, total = within_batch_variance(statistics).mean(), mean_variance(statistics).mean()
    return bool(within < 0.5 * total or total < 0.5 * within)


def _mean_of_known(values: Vector) -> float:
    """The mean over units that were ever finite."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _quantiles(name: str, values: Vector) -> dict[str, float]:
    """The 10 %, 50 % and 90 % quantiles over units that were ever finite: ``<name>_p10``, ..."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {}
    found = np.quantile(known, [0.1, 0.5, 0.9]).tolist()
    return dict(zip((f"{name}_p10", f"{name}_p50", f"{name}_p90"), found, strict=True))


def _averaged(statistics: Statistics, values: Vector) -> Vector:
    count = np.where(np.isfinite(values), cells.count(statistics), 0.0)
    total = count.sum(0)
    sums: Vector = (np.nan_to_num(values) * count).sum(0)
    means: Vector = np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)
    return means


def _summed(statistics: Statistics, values: Vector) -> Vector:
    weight = cells.count(statistics) * _weight(statistics)
    sums: Vector = (np.where(np.isnan(values), 0.0, values) * weight).sum(0)
    known: Vector = np.where(cells.count(statistics).sum(0) > 0, sums, np.nan)
    return known


def _weight(statistics: Statistics) -> float:
    """What one sample of one cell stands for: one in the samples, times positions left out."""
    kept = statistics.all_positions / statistics.positions
    return kept / max(samples(statistics), 1.0)
