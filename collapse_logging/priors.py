"""A Gaussian prior that is not N(0, 1): the posterior is read in the prior's units.

With ``mean' = (mean - prior mean) / prior sd`` and ``variance' = variance / prior variance`` the
prior is N(0, 1) again, and the KL stays what it is. So every measure keeps its meaning for a
scaled, a learned and a conditional prior: in a collapse the posterior variance goes to 1 and the
variance of the means to 0. Where the prior is the same for all samples, information stays what
it is, too; else it bounds what z says beyond that which the prior's condition says already.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal


class Prior(NamedTuple):
    """Mean and ln variance of a Gaussian prior; they can be expanded to the posterior's shape."""

    mean: Tensor
    log_variance: Tensor


PriorLike: TypeAlias = Distribution | tuple[Tensor, Tensor] | None
"""What users may give: a distribution of the posterior's kind, or (mean, log_variance)."""


def gaussian_prior(given: object, mean: Tensor, latent: str = "z") -> Prior | None:
    """The prior of a Gaussian posterior; nothing here reads a value.

    Args:
        given: a ``Normal``, a pair (mean, log_variance), or None: N(0, 1).
        mean: the posterior's means, whose shape the prior must fit.
        latent: the latent's name, for the error message.

    Raises:
        TypeError: neither.
        ValueError: it cannot be expanded to the posterior's shape.
    """
    if given is None:
        return None
    base = given
    while isinstance(base, Independent):
        base = base.base_dist
    if isinstance(base, Normal):
        with torch.no_grad():
            base = (base.loc.detach(), 2.0 * base.scale.log())
    pair = base if isinstance(base, (tuple, list)) and len(base) == 2 else (None, None)
    if not all(isinstance(part, Tensor) and part.is_floating_point() for part in pair):
        raise TypeError(
            f"latent {latent!r}: expected its prior as a Normal or as (mean, log_variance), got "
            f"{type(base).__name__}; leave out a prior of another form: information is right "
            "whatever the prior, only kl is then that to N(0, 1)."
        )
    parts = [part.detach().to(mean.device) for part in pair if part is not None]
    try:
        return Prior(*(part.expand(mean.shape) for part in parts))
    except RuntimeError:
        shapes = " and ".join(str(list(part.shape)) for part in parts)
        raise ValueError(
            f"latent {latent!r}: expected a prior that can be expanded to the posterior's "
            f"{list(mean.shape)}, got {shapes}; give it one value a unit, in the same axis."
        ) from None


def in_prior_units(mean: Tensor, log_variance: Tensor, prior: Prior) -> tuple[Tensor, Tensor]:
    """Mean and ln variance where the prior is N(0, 1), in fp32."""
    prior_log_variance = prior.log_variance.float()
    scale = (-0.5 * prior_log_variance).exp()
    return (mean.float() - prior.mean.float()) * scale, log_variance.float() - prior_log_variance
