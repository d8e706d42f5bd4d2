"""The slow, obvious twin of the measures: float64 numpy, written from the formulas.

Natural logarithms, population moments over samples, one cell (a unit at a position) at a time.
Nothing of collapse_logging is imported: what agrees with this agrees with the papers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def by_position(values):
    """``[batch, units]``, ``[batch, positions, units]`` or ``[batch, channels, height, width]``
    as float64 ``[batch, positions, units]``.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 2:
        return values[:, None, :]
    if values.ndim == 4:
        batch, channels, height, width = values.shape
        return np.moveaxis(values, 1, -1).reshape(batch, height * width, channels)
    return values


def measures(mean, log_variance, mask=None):
    """Every per-unit measure of a window's samples, ``[units]`` each.

    Variances are taken over the samples at each position and averaged over positions; information
    and KL are summed over positions, each weighted by its share of the samples.
    """
    mu, lv = by_position(mean), by_position(log_variance)
    samples, positions, units = mu.shape
    valid = np.isfinite(mu) & np.isfinite(lv)
    if mask is not None:
        valid &= np.asarray(mask, dtype=bool).reshape(samples, -1, 1)
    most = valid.sum(0).max()
    names = ("information", "kl", "mean_variance", "posterior_variance")
    result = {name: np.zeros(units) for name in names}
    for u in range(units):
        seen = valid[:, :, u].sum()
        for p in range(positions):
            rows = valid[:, p, u]
            n = rows.sum()
            if n == 0:
                continue
            m, v = mu[rows, p, u], lv[rows, p, u]
            variance, posterior_variance = m.var(), np.exp(v).mean()
            information = 0.5 * (math.log(variance + posterior_variance) - v.mean())
            kl = 0.5 * (m**2 + np.expm1(v) - v).mean()
            result["information"][u] += n / most * information
            result["kl"][u] += n / most * kl
            result["mean_variance"][u] += n / seen * variance
            result["posterior_variance"][u] += n / seen * posterior_variance
    total = result["mean_variance"] + result["posterior_variance"]
    return result | {"signal_fraction": result["mean_variance"] / total}


def quantile(values, share):
    """The value below which that share of the values lies, linear between the two nearest."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def within_batch_variance(batches):
    """Variance of the means within batches, pooled, averaged over positions, ``[units]``."""
    batches = [by_position(batch) for batch in batches]
    squares = sum(((batch - batch.mean(0)) ** 2).sum(0) for batch in batches)
    freedom = sum(len(batch) - 1 for batch in batches)
    return (squares / freedom).mean(0)


def growth_of_batch(mean, gradient):
    """g_j = - sum over the batch of (mu_bj - mean_b mu_bj) dL/dmu_bj, ``[units]``."""
    mu, gradient = by_position(mean), by_position(gradient)
    return -((mu - mu.mean(0)) * gradient).sum((0, 1))


def growth(steps):
    """T values of the steps' g, ``[units + 1]``, the whole latent last; ``steps``: rows g_j."""
    g = np.asarray(steps, dtype=np.float64)
    g = np.concatenate([g, g.sum(1, keepdims=True)], 1)
    return g.mean(0) / (g.std(0, ddof=1) / math.sqrt(len(g)))


def trend(losses):
    """Ordinary least squares of the losses on their step: rise over the window as a share of the
    mean, and the slope's t value.
    """
    y = np.asarray(losses, dtype=np.float64)
    design = np.stack([np.ones(len(y)), np.arange(len(y))], 1)
    weights = np.linalg.solve(design.T @ design, design.T @ y)
    variance = ((y - design @ weights) ** 2).sum() / (len(y) - 2)
    error = math.sqrt(variance * np.linalg.inv(design.T @ design)[1, 1])
    return weights[1] * len(y) / abs(y.mean()), weights[1] / error


@dataclass(frozen=True)
class LinearVAE:
    """The optimum of a linear VAE in closed form (science.md, section 6).

    Data with covariance eigenvalues lambda_j, decoder N(Wz + m, sigma^2), encoder
    N(V(x - m), diag nu), objective E[-ln p(x|z)] + beta KL; c = beta sigma^2, r_j = lambda_j / c.
    """

    eigenvalues: np.ndarray
    beta: float
    noise: float

    @property
    def critical(self):
        """C = beta sigma^2: units with a smaller eigenvalue collapse."""
        return self.beta * self.noise

    @property
    def active(self):
        """Which units live, ``[units]``."""
        return self.eigenvalues > self.critical

    @property
    def ratio(self):
        """r_j, and 1 where the unit collapsed, ``[units]``."""
        return np.where(self.active, self.eigenvalues / self.critical, 1.0)

    @property
    def posterior_variance(self):
        """1 / r_j, ``[units]``."""
        return 1.0 / self.ratio

    @property
    def mean_variance(self):
        """1 - 1 / r_j, ``[units]``."""
        return 1.0 - 1.0 / self.ratio

    @property
    def kl(self):
        """1/2 ln r_j, equal to the information, ``[units]``."""
        return 0.5 * np.log(self.ratio)

    @property
    def encoder(self):
        """sqrt(lambda_j - c) / lambda_j: what multiplies the coordinate along u_j, ``[units]``."""
        spread = np.maximum(self.eigenvalues - self.critical, 0.0)
        return np.sqrt(spread) / self.eigenvalues

    @property
    def rate(self):
        """Gamma_j: amplitudes near the origin follow e^(gamma t) under gradient descent."""
        a, b = 1.0 / self.noise, self.beta * self.eigenvalues
        root = np.sqrt((a - b) ** 2 + 4.0 * self.eigenvalues**2 / self.noise**2)
        return 0.5 * (root - (a + b))
