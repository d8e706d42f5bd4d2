"""Measures of a latent of another family than the diagonal Gaussian, in float64 on the host."""

from __future__ import annotations

import numpy as np

from . import cells
from .cells import FamilyReading
from .family import family_named
from .family_statistics import FamilyStatistics
from .measures import growth
from .report import Vector
from .rows import FamilyRow

INFORMATIVE_NATS = 0.0257
"""A unit that carries less carries nothing: as much as a signal fraction of 0.05 is in nats."""


def family_reading(statistics: FamilyStatistics) -> FamilyReading | None:
    """The measures of a window; None where its family is not known in this process (any more)."""
    family = family_named(statistics.family)
    if family is None:
        return None
    read = cells.reading(statistics)
    sums = read.sums
    count = sums[FamilyRow.COUNT]
    values: dict[str, Vector] = {}
    if cells.samples(read):
        found = family.measures(sums[FamilyRow.OWN :] / np.maximum(count, 1.0), count)
        join = {True: cells.summed, False: cells.averaged}
        values = {
            n: join[n in family.amounts](read, _checked(n, v, count)) for n, v in found.items()
        }
        if "information" not in values:
            raise ValueError(
                f"{family.__name__}.measures: expected 'information' in nats among the names, got "
                f"{sorted(values)}; without it no collapse can be seen."
            )
    dimensions = float(count.sum()) * cells.weight(read)
    return FamilyReading(
        family,
        values,
        cells.samples(read),
        float(sums[FamilyRow.NONFINITE].sum()),
        dimensions,
        dimensions * family.capacity(len(sums) - FamilyRow.OWN),
        growth(read),
    )


def family_scalars(read: FamilyReading) -> dict[str, float]:
    """Every scalar by name: amounts and counts are summed over the units, others averaged."""
    if not read.samples:
        return {"samples": 0.0, "nonfinite": read.nonfinite}
    scalars = {}
    for name, vector in read.values.items():
        known = vector[np.isfinite(vector)]
        if known.size:
            is_sum = name in (*read.family.amounts, *read.family.counts)
            scalars[name] = float(known.sum() if is_sum else known.mean())
    information = read.values["information"]
    scalars["informative_units"] = float(np.count_nonzero(information > INFORMATIVE_NATS))
    if "kl" in scalars:
        scalars["mismatch"] = max(scalars["kl"] - scalars["information"], 0.0)
    if np.isfinite(read.growth[-1]):
        scalars["growth"] = float(read.growth[-1])
    scalars["samples"] = read.samples
    return scalars | ({"nonfinite": read.nonfinite} if read.nonfinite else {})


def family_per_unit(read: FamilyReading) -> dict[str, Vector]:
    """Every per-unit measure by name, ``[units]`` each; growth where it can be taken."""
    grown = {"growth": read.growth[:-1]} if np.isfinite(read.growth).any() else {}
    unknown = {} if read.values else {"information": np.full(len(read.growth) - 1, np.nan)}
    return {**read.values, **unknown, **grown}


def _checked(name: str, values: Vector, count: Vector) -> Vector:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != count.shape:
        raise ValueError(
            f"measure {name!r}: expected [positions, units] as the samples have, "
            f"{list(count.shape)}, got {list(values.shape)}; reduce over the first axis of the "
            "means alone."
        )
    return values
