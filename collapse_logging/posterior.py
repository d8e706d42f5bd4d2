"""The posterior q(z given x) of one batch, in the one form that the rest of the package reads.

A latent arrives as ``(mean, log_variance)`` or as a ``torch.distributions`` object, with or
without positions; :func:`as_posterior` checks it and turns it into a :class:`Posterior`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import Distribution

from .gaussians import gaussian_of
from .priors import Prior, in_prior_units

_SHAPES = "[batch, units], [batch, positions, units] or [batch, channels, height, width]"

_NOT_VALUES = {
    "DTensor": "call .full_tensor() on it first",
    "FakeTensor": "call close() before tracing the model, or trace a deep copy of it",
}
"""By the name of the type, which torch imports late, what to do instead."""


@dataclass(eq=False, slots=True)
class Posterior:
    """Parameters of a diagonal Gaussian posterior for one batch.

    Attributes:
        mean: mu, the posterior mean, ``[batch, units]``, ``[batch, positions, units]`` or
            ``[batch, channels, height, width]`` (the units are then the channels).
        log_variance: ln sigma^2, the same shape, in nats of the natural logarithm.
        prior: of the same shape; None: N(0, 1).
        whole: what the mean was taken out of, if autograd does not know the mean itself: the
            gradient is then read there.
        part: takes the mean's part out of what has the shape of ``whole``.
    """

    mean: Tensor
    log_variance: Tensor
    prior: Prior | None = None
    whole: Tensor | None = None
    part: Callable[[Tensor], Tensor] | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it was made of; the first one is its identity."""
        return self.mean, self.log_variance

    @property
    def parameter(self) -> Tensor:
        """What the gradient is asked of, for growth."""
        return self.mean if self.whole is None else self.whole

    def first(self, rows: int) -> Posterior:
        """The first rows, detached, in the prior's units."""
        mean, log_variance = self.mean.detach(), self.log_variance.detach()
        if mean.shape[0] > rows:
            mean, log_variance = mean[:rows], log_variance[:rows]
        if self.prior is None:
            return Posterior(mean, log_variance)
        prior = Prior(*(part[:rows] for part in self.prior))
        return Posterior(*in_prior_units(mean, log_variance, prior))

    @property
    def positions_and_units(self) -> tuple[int, int]:
        """How many positions and how many units a sample has."""
        shape = self.mean.shape
        if len(shape) == 4:
            return shape[2] * shape[3], shape[1]
        return (shape[1] if len(shape) == 3 else 1), shape[-1]

    @property
    def all_positions(self) -> int:
        """How many positions a sample has."""
        return self.positions_and_units[0]


def by_position(tensor: Tensor) -> Tensor:
    """View a latent's tensor as ``[batch, positions, units]``; no copy, no kernel."""
    if tensor.ndim == 2:
        return tensor.unsqueeze(1)
    if tensor.ndim == 4:
        return tensor.flatten(2).transpose(1, 2)
    return tensor


def as_posterior(
    mean: Tensor | Distribution, log_variance: Tensor | None = None, *, latent: str = "z"
) -> Posterior:
    """Check what the user observed and return it as a :class:`Posterior`.

    Nothing here reads a value, so nothing waits for the device.

    Args:
        mean: posterior means, or a distribution: ``Normal``, ``LogNormal`` (that of ln z),
            ``MultivariateNormal`` (its diagonal) or ``Laplace`` (its variance over that of
            Laplace(0, 1)), also within ``Independent``.
        log_variance: ln sigma^2, the same shape as ``mean``; None with a distribution.
        latent: the latent's name, for the error message.

    Raises:
        TypeError: neither a posterior nor floating-point tensors.
        ValueError: shapes, devices or sizes that cannot be a posterior.
    """
    if isinstance(mean, Distribution):
        if log_variance is not None:
            raise TypeError(
                f"latent {latent!r}: expected a distribution alone or (mean, log_variance), got a "
                "distribution and a second argument; leave the second one out."
            )
        return _from_distribution(mean, latent)
    for role, value in (("mean", mean), ("log_variance", log_variance)):
        _check_tensor(value, role, latent)
    assert log_variance is not None  # _check_tensor refused None
    if mean.shape != log_variance.shape:
        raise ValueError(
            f"latent {latent!r}: expected mean and log_variance of one shape, got "
            f"{list(mean.shape)} and {list(log_variance.shape)}; expand the smaller one, e.g. "
            "log_variance.expand_as(mean)."
        )
    if mean.device != log_variance.device:
        raise ValueError(
            f"latent {latent!r}: expected mean and log_variance on one device, got {mean.device} "
            f"and {log_variance.device}; move one of them."
        )
    if mean.ndim not in (2, 3, 4):
        raise ValueError(
            f"latent {latent!r}: expected {_SHAPES}, got {list(mean.shape)}; reshape it so that "
            "the batch comes first."
        )
    posterior = Posterior(mean, log_variance)
    if 0 in posterior.positions_and_units:
        raise ValueError(
            f"latent {latent!r}: expected at least one unit and one position, got "
            f"{list(mean.shape)}; {_SHAPES} is read with the units last (channels for 4 axes)."
        )
    return posterior


def _check_tensor(value: object, role: str, latent: str) -> None:
    if not isinstance(value, Tensor):
        came = "nothing" if value is None else type(value).__name__
        raise TypeError(
            f"latent {latent!r}: expected a posterior, that is observe(name, mean, log_variance) "
            f"with two tensors or observe(name, distribution) with a Normal, a Categorical or a "
            f"Bernoulli, got {came} for {role}."
        )
    if not value.is_floating_point() or value.dtype.itemsize == 1:
        raise TypeError(
            f"latent {latent!r}: expected {role} of a floating-point type of 16 bits or more, got "
            f"{value.dtype}; pass the network's output itself; codes of a codebook as "
            "Codebook(indices, size)."
        )
    if value.layout != torch.strided or value.is_nested:
        kind = "a nested tensor" if value.is_nested else f"layout {value.layout}"
        raise TypeError(
            f"latent {latent!r}: expected a dense {role}, got {kind}; call .to_dense() on it "
            "first, or .to_padded_tensor(0.0) and pass a mask."
        )
    mend = _NOT_VALUES.get(type(value).__name__)
    if mend is not None:
        raise TypeError(
            f"latent {latent!r}: expected a {role} whose values are on this device, got a "
            f"{type(value).__name__}; {mend}."
        )


def _from_distribution(distribution: Distribution, latent: str) -> Posterior:
    loc, log_variance, unit = gaussian_of(distribution, latent)
    if unit == 1.0:
        return as_posterior(loc, log_variance, latent=latent)
    found = as_posterior(loc / unit, log_variance, latent=latent)
    return replace(found, whole=loc, part=lambda whole: whole * unit)
