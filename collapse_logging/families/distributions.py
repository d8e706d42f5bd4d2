"""Which family a ``torch.distributions`` object belongs to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from ..family import Family
from .bernoulli import Bernoulli
from .categorical import Categorical


def family_of(distribution: Distribution, prior: object = None, latent: str = "z") -> Family | None:
    """The family of a discrete distribution; None: it is none that is known here.

    Known are ``Categorical``, ``OneHotCategorical`` with its straight-through and relaxed kin,
    ``Bernoulli`` and ``RelaxedBernoulli``, all also within ``Independent``. Growth is read only
    where the sample has a gradient: else the loss reaches z by other ways than these logits.

    Args:
        distribution: the posterior of one batch.
        prior: a distribution of the same kind; None: uniform.
        latent: its name, for the error message.

    Raises:
        TypeError: a prior of another kind.
        ValueError: shapes that are no latent's, or that the prior does not fit.
    """
    natural = _natural(distribution)
    if natural is None:
        return None
    kind, tensor, probabilities = natural
    found = kind(tensor, None, probabilities, distribution.has_rsample)
    if prior is None:
        return found
    return kind(tensor, _prior(kind, prior, tensor, latent), probabilities, found.grows)


def _natural(
    distribution: Distribution,
) -> tuple[type[Categorical] | type[Bernoulli], Tensor, bool] | None:
    """The family, the tensor that the distribution was made of, and if it holds probabilities."""
    base: object = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    for inner in ("base_dist", "_categorical"):  # of relaxed and of one-hot ones
        base = getattr(base, inner, base)
    known = (
        (torch.distributions.Categorical, Categorical),
        (torch.distributions.Bernoulli, Bernoulli),
        (torch.distributions.relaxed_bernoulli.LogitRelaxedBernoulli, Bernoulli),
    )
    for theirs, ours in known:
        if isinstance(base, theirs):
            tensor = base._param  # not its other form, which is made anew of this one
            return ours, tensor, tensor is not vars(base).get("logits")
    return None


def _prior(
    kind: type[Categorical] | type[Bernoulli], prior: object, tensor: Tensor, latent: str
) -> Tensor:
    """The prior's logits, as large as the posterior's parameters."""
    natural = _natural(prior) if isinstance(prior, Distribution) else None
    if natural is None or natural[0] is not kind:
        raise TypeError(
            f"latent {latent!r}: expected a prior of the posterior's kind, {kind.__name__}, got "
            f"{type(prior).__name__}; leave it out for a uniform one."
        )
    _, parameters, probabilities = natural
    if probabilities:
        parameters = parameters.log() if kind is Categorical else torch.logit(parameters)
    try:
        return parameters.expand_as(tensor)
    except RuntimeError:
        raise ValueError(
            f"latent {latent!r}: expected a prior that can be expanded to the posterior's "
            f"{list(tensor.shape)}, got {list(parameters.shape)}; give one for each sample, or one "
            "for all."
        ) from None
