"""Host readings of a latent's sums, in float64, by cell: ``[positions, units]``.

The measures are built on these; a cell is one unit at one position. All take
:class:`~collapse_logging.statistics.Statistics`; who wants several of one window takes a
:func:`reading` first, so that nothing is brought to the host or computed twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .family import Family
from .report import Vector
from .rows import GrowthRow, Row
from .sums import Sums

_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)  # arrays cannot be compared
class Reading:
    """A window's sums on the host; it does not change with the window.

    Attributes:
        sums: ``[11, positions, units]``, see :class:`Statistics`.
        growth_sums: ``[4, units + 1]``.
        all_positions: positions that the latent has, kept or not.
    """

    sums: Vector
    growth_sums: Vector
    all_positions: int
    _known: dict[Callable[[Reading], Any], Any] = field(
        default_factory=dict, init=False, repr=False
    )


@dataclass(frozen=True, eq=False)
class FamilyReading:
    """A window's sums of another family than the Gaussian, read once.

    Attributes:
        family: what they are sums of.
        values: measures by name, ``[units]``.
        samples: in the window: the best filled position's count; of a codebook its tokens.
        nonfinite: elements that could not be read.
        dimensions: units times the positions that an average sample has.
        capacity: the most nats that the latent can carry.
        growth: a t value a unit, and the whole latent's last, ``[units + 1]``.
    """

    family: type[Family]
    values: Mapping[str, Vector]
    samples: float
    nonfinite: float
    dimensions: float
    capacity: float
    growth: Vector

    def measure(self, name: str) -> Vector:
        """One of its measures, as functions of :mod:`~collapse_logging.measures` give them.

        Raises:
            KeyError: it has none of that name.
        """
        if name == "growth":
            return self.growth
        if name not in self.values:
            raise KeyError(
                f"a {self.family.__name__} has no {name}, only {sorted(self.values)}; give None "
                "for latents of its kind."
            )
        return self.values[name]


Source = Sums | Reading | FamilyReading
"""What a measure is taken of; of a family those that it has, by their names."""


def reading(statistics: Source) -> Reading:
    """The sums as they are now, in float64 on the host; a reading is one already."""
    if isinstance(statistics, Reading):
        return statistics
    if isinstance(statistics, FamilyReading):
        raise TypeError(
            f"expected the sums of a Gaussian latent, got a reading of "
            f"{statistics.family.__name__}; its measures are in its values."
        )
    return Reading(
        statistics.sums.cpu().numpy().astype(np.float64),
        statistics.growth_sums.cpu().numpy().astype(np.float64),
        statistics.all_positions,
    )


def once(measure: Callable[[Reading], _Value]) -> Callable[[Source], _Value]:
    """Decorates a function of a reading: it may be given statistics, and computes once a reading.

    What it returns is shared by all who ask, so nobody may change it.
    """

    @functools.wraps(measure)
    def remembered(statistics: Source) -> _Value:
        if type(statistics) is FamilyReading:
            return cast(_Value, statistics.measure(measure.__name__))
        read = statistics if type(statistics) is Reading else reading(statistics)
        value: _Value | None = read._known.get(measure)
        if value is None:
            value = read._known[measure] = measure(read)
        return value

    return remembered


@once
def count(statistics: Reading) -> Vector:
    """Finite samples by position and unit, ``[positions, units]``."""
    counts: Vector = statistics.sums[Row.COUNT]
    return counts


@once
def mean(statistics: Reading) -> Vector:
    """E mu, ``[positions, units]``."""
    means: Vector = statistics.sums[Row.SHIFT] + _mean_of(statistics, Row.D)
    return means


@once
def mean_variance(statistics: Reading) -> Vector:
    """Var mu over all samples of the window, never negative, ``[positions, units]``."""
    return np.maximum(_mean_of(statistics, Row.DD) - _mean_of(statistics, Row.D) ** 2, 0.0)


@once
def within_batch_variance(statistics: Reading) -> Vector:
    """Var mu within batches alone (NaN at batch size 1), ``[positions, units]``.

    A bias that drifts between steps does not enter it, nor do differences between batches.
    """
    freedom = statistics.sums[Row.FREEDOM]
    found: Vector = np.full_like(freedom, np.nan)
    np.divide(statistics.sums[Row.WITHIN], freedom, out=found, where=freedom > 0)
    return found


@once
def shifted_log_variance(statistics: Reading) -> tuple[Vector, Vector, Vector]:
    """A shift s, ``ln(E sigma^2) - s`` and ``E ln sigma^2 - s``, ``[positions, units]`` each.

    Differences of the last two keep seven digits whatever s is. Where ln sigma^2 fell so far below
    its shift that fp32 lost E sigma^2, the first is the second, its lower bound (Jensen).
    """
    excess, mean_log_variance = _mean_of(statistics, Row.EXPM1), _mean_of(statistics, Row.LV)
    lost = excess < -0.999
    log_variance = np.where(lost, mean_log_variance, np.log1p(np.maximum(excess, -0.999)))
    return statistics.sums[Row.LV_SHIFT], log_variance, mean_log_variance


@once
def nonfinite(statistics: Reading) -> float:
    """NaN or infinite elements; they enter nothing else."""
    return float(statistics.sums[Row.NONFINITE].sum())


@once
def clamped(statistics: Reading) -> float:
    """Elements whose ln sigma^2 was beyond ``LOG_VARIANCE_LIMIT``."""
    return float(statistics.sums[Row.CLAMPED].sum())


@once
def growth_steps(statistics: Reading) -> tuple[Vector, Vector, Vector]:
    """Sums over steps of g, g^2 and 1, ``[units + 1]`` each; the last is the whole latent."""
    g, gg, steps = statistics.growth_sums[GrowthRow.G :]
    return g, gg, steps


@once
def samples(statistics: Reading) -> float:
    """Samples in the window: the best filled position's count."""
    return float(count(statistics).max(initial=0.0))


@once
def weight(statistics: Reading) -> float:
    """What one sample of one cell stands for: one in the samples, times positions left out."""
    kept: float = statistics.all_positions / statistics.sums.shape[1]
    return kept / max(samples(statistics), 1.0)


def averaged(statistics: Source, values: Vector) -> Vector:
    """Means over the positions, ``[units]``, each weighted by its finite samples."""
    known = np.isfinite(values) & _seen(statistics)
    if len(values) == 1:  # no positions, as in most models: there is nothing to be averaged
        only: Vector = np.where(known, values, np.nan)[0]
        return only
    counted = np.where(known, count(statistics), 0.0)
    total = counted.sum(0)
    sums: Vector = (np.where(known, values, 0.0) * counted).sum(0)
    means: Vector = np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)
    return means


def summed(statistics: Source, values: Vector) -> Vector:
    """Sums over the positions that an average sample has, ``[units]``; NaN where none was seen."""
    weighted = np.where(_seen(statistics), values * _weights(statistics), np.nan)
    if len(values) == 1:
        only: Vector = weighted[0]
        return only
    sums: Vector = np.nansum(weighted, 0)
    return np.where(_seen(statistics).any(0), sums, np.nan)


@once
def _seen(statistics: Reading) -> NDArray[np.bool_]:
    return count(statistics) > 0


@once
def _weights(statistics: Reading) -> Vector:
    weights: Vector = count(statistics) * weight(statistics)
    return weights


@once
def _means(statistics: Reading) -> Vector:
    """Means of what is summed from ``Row.D`` to ``Row.LV``, ``[4, positions, units]``."""
    means: Vector = statistics.sums[Row.D : Row.LV + 1] / np.maximum(count(statistics), 1.0)
    return means


def _mean_of(statistics: Reading, row: int) -> Vector:
    mean: Vector = _means(statistics)[row - Row.D]
    return mean
