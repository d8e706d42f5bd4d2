"""What the user says of a batch: checked, and turned into a posterior or a family."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Distribution

from . import families
from .arguments import got
from .family import Family
from .posterior import Posterior, as_posterior
from .priors import PriorLike, gaussian_prior

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _plainly(mean: object, log_variance: object) -> bool:
    """Whether there is no doubt; it is asked at every observed step, so it calls nothing."""
    return (
        type(mean) is Tensor
        and type(log_variance) is Tensor
        and not (mean.is_nested or log_variance.is_nested)
        and mean.shape == log_variance.shape
        and mean.ndim == 2
        and mean.shape[1] > 0
        and mean.dtype in _FLOATS
        and log_variance.dtype in _FLOATS
        and mean.layout is log_variance.layout is torch.strided
        and mean.device == log_variance.device
    )


def observed(
    name: str,
    given: Tensor | Distribution | Family,
    log_variance: Tensor | None = None,
    mask: Tensor | None = None,
    prior: PriorLike = None,
) -> Posterior | Family:
    """The posterior of one observation, its name, prior and mask checked, too.

    Raises:
        TypeError, ValueError: not a name, a posterior, a prior or a mask.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name: expected the latent's name, e.g. 'z', got {got(name)}.")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ValueError(
            f"name: expected text that UTF-8 can hold, e.g. 'z', got {got(name)}; trackers "
            "refuse any other."
        )
    posterior = _observed(name, given, log_variance, prior)
    if mask is not None:
        check_mask(mask, posterior, latent=name)
    return posterior


def _observed(
    name: str,
    given: Tensor | Distribution | Family,
    log_variance: Tensor | None,
    prior: PriorLike,
) -> Posterior | Family:
    if prior is None and _plainly(given, log_variance):
        return Posterior(given, log_variance)  # type: ignore[arg-type]
    family = given if isinstance(given, Family) else None
    if isinstance(given, Distribution) and log_variance is None:
        family = families.family_of(given, prior, name)
    if family is None:
        posterior = as_posterior(given, log_variance, latent=name)  # type: ignore[arg-type]
        wanted = gaussian_prior(prior, posterior.mean, name)
        return posterior if wanted is None else replace(posterior, prior=wanted)
    if isinstance(given, Family) and (log_variance is not None or prior is not None):
        raise TypeError(
            f"latent {name!r}: expected a {type(given).__name__} alone, got further arguments; "
            "it holds its parameters and its prior itself."
        )
    return family


def check_mask(mask: object, posterior: Posterior | Family, *, latent: str = "z") -> None:
    """Raise unless the mask is a tensor ``[batch]`` or ``[batch, positions]``."""
    batch, positions = posterior.tensors[0].shape[0], posterior.all_positions
    if not isinstance(mask, Tensor):
        raise TypeError(
            f"latent {latent!r}: expected a mask tensor [{batch}] or [{batch}, {positions}], got "
            f"{type(mask).__name__}; True where a sample is real."
        )
    if tuple(mask.shape) not in ((batch,), (batch, positions)):
        raise ValueError(
            f"latent {latent!r}: expected a mask [{batch}] or [{batch}, {positions}], got "
            f"{list(mask.shape)}; True where a sample is real."
        )
