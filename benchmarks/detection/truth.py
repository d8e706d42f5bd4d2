"""The truth about a latent, from held-out rows; nothing here is shared with the detector.

Two numbers decide. Mutual information of x and z: the same-sample estimator,
``mean_i ln [ q(z_i|x_i) / mean_j q(z_i|x_j) ]``, over all held-out rows; it cannot exceed
``ln rows``. And the shuffle gap: how much worse, in nats a sample, the decoder does with another
sample's z, paired, with its standard error. The limits were fixed before any detector was run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

COLLAPSED_INFORMATION = 0.1
"""nats; at most this is no information (He et al. 2019 call it collapsed)."""

HEALTHY_INFORMATION = 0.5
"""nats; at least this is information."""

COLLAPSED_GAP = 0.1
"""nats; at most this, or three standard errors, is no use made of z."""

IGNORED_GAP = 0.02
"""nats; at most this, or three standard errors, is a decoder that ignores z."""

ERRORS = 3.0
EVALUATE_EVERY = 50
AGREEING = 3
"""The last evaluations that must agree; else the run is ambiguous."""

COLLAPSED, HEALTHY = "collapsed", "healthy"
IGNORES, AMBIGUOUS = "decoder ignores z", "ambiguous"


@dataclass(frozen=True)
class Truth:
    """One latent at one step: information (nats) with its cap, gap (nats) with its error."""

    information: float
    cap: float
    gap: float
    gap_error: float

    @property
    def category(self) -> str:
        """What the two numbers say."""
        noise = ERRORS * self.gap_error
        if self.information <= COLLAPSED_INFORMATION:
            return COLLAPSED if self.gap <= max(COLLAPSED_GAP, noise) else AMBIGUOUS
        if self.information < HEALTHY_INFORMATION:
            return AMBIGUOUS
        if self.gap > max(COLLAPSED_GAP, noise):
            return HEALTHY
        return IGNORES if self.gap <= max(IGNORED_GAP, noise) else AMBIGUOUS


def measure(mean: Vector, log_variance: Vector, loss: Vector, permuted: Vector) -> Truth:
    """The truth about one latent.

    Args:
        mean: posterior means of the held-out rows, ``[rows, cells]``.
        log_variance: their ln sigma^2, ``[rows, cells]``.
        loss: nats of each row with its own z, ``[rows]``.
        permuted: nats of each row with another row's z, ``[rows]``.
    """
    difference = permuted.astype(np.float64) - loss
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    information = mutual_information(mean.astype(np.float64), log_variance.astype(np.float64))
    return Truth(information, math.log(len(mean)), float(difference.mean()), error)


def mutual_information(mean: Vector, log_variance: Vector) -> float:
    """Same-sample estimate of I(x; z) in nats, at most ln rows."""
    mean = mean - mean.mean(0)
    noise = np.random.default_rng(11).standard_normal(mean.shape)
    z = mean + np.exp(0.5 * log_variance) * noise
    precision = np.exp(-log_variance)
    squares = (z**2) @ precision.T - 2.0 * z @ (mean * precision).T
    squares += (mean**2 * precision + log_variance).sum(1)
    log_density = -0.5 * squares
    top = log_density.max(1)
    mixture = top + np.log(np.exp(log_density - top[:, None]).mean(1))
    return float((np.diagonal(log_density) - mixture).mean())


@dataclass(frozen=True)
class Course:
    """How the truth of one latent went: final category, time of collapse, what came before.

    Attributes:
        category: of the last evaluations, if they agree.
        collapsed_at: first evaluated step after which it stays collapsed; None if it is not.
        late: it was healthy before.
        transient: it was healthy, then collapsed, then healthy again.
    """

    category: str
    collapsed_at: int | None
    late: bool
    transient: bool


def course(steps: list[int], truths: list[Truth]) -> Course:
    """Read a latent's course from its evaluations, in order."""
    seen = [truth.category for truth in truths]
    category = seen[-1] if len(set(seen[-AGREEING:])) == 1 else AMBIGUOUS
    collapsed_at, late = None, False
    if category == COLLAPSED:
        first = next(i for i in range(len(seen)) if set(seen[i:]) == {COLLAPSED})
        collapsed_at, late = steps[first], HEALTHY in seen[:first]
    kept = [c for c in seen if c in (HEALTHY, COLLAPSED)]
    changes = [b for a, b in zip([None, *kept], kept, strict=False) if a != b]
    dipped = HEALTHY in changes and COLLAPSED in changes[changes.index(HEALTHY) :]
    return Course(category, collapsed_at, late, dipped and category == HEALTHY)


def category_at(steps: list[int], truths: list[Truth], step: int) -> str:
    """The truth at the last evaluation that is not after ``step``."""
    before = [truth for at, truth in zip(steps, truths, strict=True) if at <= step]
    return before[-1].category
