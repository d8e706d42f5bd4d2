"""What a module's output is: the posterior in it, or what else it is."""

from __future__ import annotations

import typing
from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from .families import family_of
from .family import Family
from .posterior import Posterior, as_posterior


def posterior_of(output: object) -> Posterior | Family | None:
    """The posterior in a module's output, or None.

    ``(mean, log_variance)``, ``(anything, mean, log_variance)``, a Normal or a discrete
    distribution, or a :class:`Family`.
    """
    if isinstance(output, Family):
        return output
    if isinstance(output, Distribution) and (family := family_of(output)) is not None:
        return family
    if isinstance(output, Distribution):
        try:
            return as_posterior(output)
        except TypeError:
            return None
    if isinstance(output, (tuple, list)) and len(output) in (2, 3):
        mean, log_variance = output[-2:]
        if _could_be(mean) and _could_be(log_variance) and mean.shape == log_variance.shape:
            return as_posterior(mean, log_variance)
    return None


def uses_its_mean(output: object) -> bool:
    """Whether the module has used the mean itself: for a sample or a reconstruction."""
    return isinstance(output, (tuple, list)) and len(output) == 3


def with_mean(output: object, mean: Tensor) -> object:
    """The same output with another tensor for its mean; a distribution is changed in place."""
    if isinstance(output, (tuple, list)):
        parts = [*output[:-2], mean, output[-1]]
        made: Any = type(output)
        return made(*parts) if hasattr(output, "_fields") else made(parts)
    base = output
    while isinstance(base, Independent):
        base = base.base_dist
    typing.cast(Normal, base).loc = mean
    return None


def describe(output: object) -> str:
    """What was returned, for an error message."""
    if isinstance(output, Tensor):
        return f"one tensor {list(output.shape)}"
    if isinstance(output, (tuple, list)):
        return f"{type(output).__name__}({', '.join(describe(part) for part in output)})"
    return type(output).__name__


def refusal(name: str, output: object) -> str:
    """Why a watched module's output cannot be read, and what to do."""
    return (
        f"latent {name!r}: expected its module to return (mean, log_variance) or a Normal "
        f"distribution, got {describe(output)}; watch a module that does, or call "
        "monitor.observe(name, mean, log_variance) yourself."
    )


def _could_be(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim in (2, 3, 4)
