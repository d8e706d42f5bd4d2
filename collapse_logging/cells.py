"""Host readings of a latent's sums, in float64, by cell: ``[positions, units]``.

The measures are built on these; a cell is one unit at one position.
"""

from __future__ import annotations

import numpy as np

from .report import Vector
from .rows import GrowthRow, Row
from .statistics import Statistics


def count(statistics: Statistics) -> Vector:
    """Finite samples by position and unit, ``[positions, units]``."""
    return _row(statistics, Row.COUNT)


def mean(statistics: Statistics) -> Vector:
    """E mu, ``[positions, units]``."""
    return _row(statistics, Row.SHIFT) + _mean_of(statistics, Row.D)


def mean_variance(statistics: Statistics) -> Vector:
    """Var mu over all samples of the window, never negative, ``[positions, units]``."""
    return np.maximum(_mean_of(statistics, Row.DD) - _mean_of(statistics, Row.D) ** 2, 0.0)


def within_batch_variance(statistics: Statistics) -> Vector:
    """Var mu within batches alone (NaN at batch size 1), ``[positions, units]``.

    A bias that drifts between steps does not enter it, nor do differences between batches.
    """
    freedom = _row(statistics, Row.FREEDOM)
    return np.divide(
        _row(statistics, Row.WITHIN), freedom, out=np.full_like(freedom, np.nan), where=freedom > 0
    )


def shifted_log_variance(statistics: Statistics) -> tuple[Vector, Vector, Vector]:
    """A shift s, ``ln(E sigma^2) - s`` and ``E ln sigma^2 - s``, ``[positions, units]`` each.

    Differences of the last two keep seven digits whatever s is. Where ln sigma^2 fell so far below
    its shift that fp32 lost E sigma^2, the first is the second, its lower bound (Jensen).
    """
    excess, mean_log_variance = _mean_of(statistics, Row.EXPM1), _mean_of(statistics, Row.LV)
    lost = excess < -0.999
    log_variance = np.where(lost, mean_log_variance, np.log1p(np.maximum(excess, -0.999)))
    return _row(statistics, Row.LV_SHIFT), log_variance, mean_log_variance


def nonfinite(statistics: Statistics) -> float:
    """NaN or infinite elements; they enter nothing else."""
    return float(_row(statistics, Row.NONFINITE).sum())


def clamped(statistics: Statistics) -> float:
    """Elements whose ln sigma^2 was beyond ``LOG_VARIANCE_LIMIT``."""
    return float(_row(statistics, Row.CLAMPED).sum())


def growth_steps(statistics: Statistics) -> tuple[Vector, Vector, Vector]:
    """Sums over steps of g, g^2 and 1, ``[units + 1]`` each; the last is the whole latent."""
    g, gg, steps = statistics.growth_sums[GrowthRow.G :].cpu().numpy().astype(np.float64)
    return g, gg, steps


def _row(statistics: Statistics, row: int) -> Vector:
    return statistics.sums[row].cpu().numpy().astype(np.float64)


def _mean_of(statistics: Statistics, row: int) -> Vector:
    return _row(statistics, row) / np.maximum(count(statistics), 1.0)
