"""Mean and log-variance of a ``torch.distributions`` object that is, or is read as, a Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)


@torch.no_grad()
def gaussian_of(distribution: Distribution, latent: str) -> tuple[Tensor, Tensor, float]:
    """Its location, ln sigma^2 in a unit, and the unit: 1 but for a Laplace distribution.

    That is read by its variance, in units in which Laplace(0, 1), its usual prior, has the
    variance 1; of a ``LogNormal`` ln z is read, of a ``MultivariateNormal`` the diagonal.

    Raises:
        TypeError: it is none of these.
    """
    base = distribution
    while isinstance(base, (Independent, LogNormal)):
        base = base.base_dist
    if isinstance(base, Normal):
        return base.loc, 2.0 * base.scale.log(), 1.0
    if isinstance(base, (MultivariateNormal, LowRankMultivariateNormal)):
        return base.loc, base.variance.log(), 1.0
    if isinstance(base, Laplace):
        return base.loc, 2.0 * base.scale.log(), math.sqrt(2.0)
    raise TypeError(
        f"latent {latent!r}: expected a Normal, LogNormal, MultivariateNormal or Laplace "
        f"distribution, got {type(base).__name__}; pass mean and log_variance of a diagonal "
        "Gaussian instead."
    )
