"""Categorical posteriors, and Gumbel-softmax, whose relaxed samples have the same posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..family import Family, check_parameters
from ..report import Vector

FLOOR = -80.0
"""ln of a probability times its classes is not read below this: 0 ln 0 is 0, not NaN."""


@dataclass(frozen=True, eq=False)
class Categorical(Family):
    """One batch of categorical posteriors; a unit is one variable with its classes.

    Attributes:
        logits: ``[batch, classes]``, ``[batch, units, classes]`` or ``[batch, positions, units,
            classes]``, normalised or not. Growth is read of their gradient: give the tensor that
            both the sample and the KL are made of.
        log_prior: ln of the prior's probabilities, of the logits' shape; None: uniform.
        probabilities: whether ``logits`` are probabilities instead.
        grows: whether the gradient says where training pushes; False where the sample is not
            made of these logits, or has no gradient.
    """

    logits: Tensor
    log_prior: Tensor | None = None
    probabilities: bool = False
    grows: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be parameters."""
        shapes = (
            "[batch, classes]",
            "[batch, units, classes]",
            "[batch, positions, units, classes]",
        )
        check_parameters("Categorical", self.logits, shapes)

    @property
    def parameter(self) -> Tensor | None:
        """The logits."""
        return self.logits if self.grows else None

    @property
    def positions_and_units(self) -> tuple[int, int]:
        """One of each unless there are axes for them."""
        middle = self.logits.shape[1:-1]
        return (middle[0] if len(middle) == 2 else 1), (middle[-1] if middle else 1)

    @property
    def rows(self) -> int:
        """One for each class, and two KLs."""
        return self.logits.shape[-1] + 2

    @classmethod
    def capacity(cls, rows: int) -> float:
        """The logarithm of the classes."""
        return math.log(rows - 2)

    def total(self, mask: Tensor | None) -> Tensor:
        """Sums of ``q - 1/K`` of the K classes, KL(q || uniform) and KL(q || prior).

        About the uniform distribution, so that little is not lost beside much.
        """
        classes = self.logits.shape[-1]
        logits = self.logits.float()
        log_q = (logits / logits.sum(-1, keepdim=True)).log() if self.probabilities else logits
        log_q = log_q.log_softmax(-1)
        log_ratio = (log_q + math.log(classes)).clamp(min=FLOOR)
        excess = torch.expm1(log_ratio) / classes
        q = excess + 1.0 / classes
        to_uniform = to_prior = (q * log_ratio - excess).sum(-1)
        if self.log_prior is not None:
            log_prior = self.log_prior.float().log_softmax(-1)
            to_prior = (q * (log_q.clamp(min=FLOOR) - log_prior.clamp(min=FLOOR))).sum(-1)
        rows = torch.cat([excess, torch.stack([to_uniform, to_prior], -1)], -1).movedim(-1, 0)
        return self.summed(rows.unsqueeze(-1) if rows.ndim == 2 else rows, mask)

    @classmethod
    def measures(cls, mean: Vector, count: Vector) -> Mapping[str, Vector]:
        """What the variables carry, in nats, and how many classes they use.

        ``information = H(mean q) - mean H(q)``, exact for each unit and an upper bound of
        I(x; z) for all; at most the KL, which bounds it given what a conditional prior knows.
        ``perplexity = exp H(mean q)``, between 1 and the number of classes.

        Source: Hoffman and Johnson 2016 (the KL of the aggregated posterior is no information).
        """
        excess, (to_uniform, kl) = mean[:-2], mean[-2:]
        classes = len(excess)
        usage = excess + 1.0 / classes
        log_ratio = np.log(np.maximum(classes * usage, math.exp(FLOOR)))
        near = np.abs(classes * excess) < 0.1  # where the sum would lose the digits
        log_ratio = np.where(near, np.log1p(np.where(near, classes * excess, 0.0)), log_ratio)
        of_mean = (usage * log_ratio - excess).sum(0)
        kl = np.maximum(kl, 0.0)
        return {
            "information": np.minimum(np.maximum(to_uniform - of_mean, 0.0), kl),
            "kl": kl,
            "perplexity": classes * np.exp(-of_mean),
        }
