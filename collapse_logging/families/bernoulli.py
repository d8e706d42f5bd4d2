"""Bernoulli posteriors: binary latents, one a unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..family import Family, check_parameters
from ..report import Vector


@dataclass(frozen=True, eq=False)
class Bernoulli(Family):
    """One batch of Bernoulli posteriors.

    Attributes:
        logits: ``[batch, units]`` or ``[batch, positions, units]``. Growth is read of their
            gradient: give the tensor that both the sample and the KL are made of.
        prior_logits: the prior's, of the same shape; None: 0, that is one half.
        probabilities: whether ``logits`` are probabilities instead.
        grows: whether the gradient says where training pushes; False where the sample is not
            made of these logits, or has no gradient.
    """

    logits: Tensor
    prior_logits: Tensor | None = None
    probabilities: bool = False
    grows: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be parameters."""
        shapes = ("[batch, units]", "[batch, positions, units]")
        check_parameters("Bernoulli", self.logits, shapes)

    @property
    def parameter(self) -> Tensor | None:
        """The logits."""
        return self.logits if self.grows else None

    @property
    def positions_and_units(self) -> tuple[int, int]:
        """The last axis are the units."""
        shape = self.logits.shape
        return (shape[1] if len(shape) == 3 else 1), shape[-1]

    @property
    def rows(self) -> int:
        """Three, see :meth:`total`."""
        return 3

    @classmethod
    def capacity(cls, rows: int) -> float:
        """A bit, ln 2."""
        return math.log(2.0)

    def total(self, mask: Tensor | None) -> Tensor:
        """Sums of ``p - 1/2``, KL(q || one half) and KL(q || prior)."""
        logits = self.logits.float()
        logits = torch.logit(logits) if self.probabilities else logits
        logits = logits.clamp(-80.0, 80.0)
        half = 0.5 * torch.tanh(0.5 * logits)
        # softplus(x) - ln 2 - x/2 is ln cosh(x/2), here without its cancellation near 0
        log_cosh = torch.log1p(torch.expm1(logits.abs().neg()) / 2.0) + 0.5 * logits.abs()
        to_half = to_prior = half * logits - log_cosh
        if self.prior_logits is not None:
            prior = self.prior_logits.float().clamp(-80.0, 80.0)
            q = half + 0.5
            softplus = torch.nn.functional.softplus
            to_prior = q * (logits - prior) - softplus(logits) + softplus(prior)
        return self.summed(torch.stack([half, to_half, to_prior]), mask)

    @classmethod
    def measures(cls, mean: Vector, count: Vector) -> Mapping[str, Vector]:
        """What the units carry, in nats: ``information = H(mean p) - mean H(p)``, exact for each.

        At most the KL, which bounds it given what a conditional prior knows. ``perplexity`` is
        exp H(mean p), between 1 and 2.

        Source: Hoffman and Johnson 2016, for two classes.
        """
        half, to_half, kl = mean
        with np.errstate(divide="ignore", invalid="ignore"):
            sides = (0.5 + half, 0.5 - half)
            terms = [np.where(p > 0, p * np.log(2.0 * p), 0.0) for p in sides]
        of_mean, kl = np.maximum(sum(terms), 0.0), np.maximum(kl, 0.0)
        return {
            "information": np.minimum(np.maximum(to_half - of_mean, 0.0), kl),
            "kl": kl,
            "perplexity": 2.0 * np.exp(-of_mean),
        }
