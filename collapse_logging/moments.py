"""Posteriors that come as two halves of one tensor, or with something else than a log-variance."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from .posterior import Posterior, as_posterior


def halves(moments: Tensor, axis: int, *, latent: str = "z") -> Posterior:
    """The posterior whose mean and log-variance lie one behind the other in one tensor.

    Args:
        moments: ``[batch, 2 units]``, ``[batch, positions, 2 units]``, ``[batch, 2 units,
            positions]`` or ``[batch, 2 channels, height, width]``.
        axis: the axis that holds both.
        latent: the latent's name, for the error message.

    Raises:
        TypeError, ValueError: not a tensor that can be halved into a posterior.
    """

    def half(whole: Tensor, which: int = 0) -> Tensor:
        found = whole.chunk(2, axis)[which]
        return found.transpose(1, 2) if whole.ndim == 3 and axis == 1 else found

    if moments.shape[axis] % 2:
        raise ValueError(
            f"latent {latent!r}: expected an even axis {axis}, half of it means, half of it "
            f"log-variances, got {list(moments.shape)}; say another axis: 'PATH as moments on 1'."
        )
    found = as_posterior(half(moments), half(moments, 1), latent=latent)
    return dataclasses.replace(found, whole=moments, part=half)


def log_variance_of(spread: Tensor, kind: str) -> Tensor:
    """The log-variance of a ``"variance"``, ``"scale"``, ``"log_scale"`` or of itself.

    The logarithm has no gradient: none is asked for.
    """
    if kind == "log_variance":
        return spread
    spread = spread.detach()
    if kind == "log_scale":
        return 2.0 * spread
    return spread.log() if kind == "variance" else 2.0 * spread.log()
