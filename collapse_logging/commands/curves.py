"""From a recording's series to what can be drawn in any number of pixels; no drawing here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..report import Vector

POINTS = 1000
"""Bins to which a curve is thinned; more cannot be seen."""


def thin(steps: Vector, values: Vector, bins: int = POINTS) -> tuple[Vector, Vector]:
    """A curve by its lowest and highest point in each bin, so that no spike is lost.

    Args:
        steps: ``[checks]``.
        values: ``[checks]``; what is not finite is left out.
        bins: a curve of up to twice as many points is left as it is.
    """
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    if len(values) <= 2 * bins:
        return steps, values
    edges = np.linspace(0, len(values), bins + 1).astype(int)
    places = {
        start + extreme(values[start:end])
        for start, end in zip(edges[:-1], edges[1:], strict=True)
        for extreme in (np.argmin, np.argmax)
    }
    kept = np.array(sorted({0, *places, len(values) - 1}))
    return steps[kept], values[kept]


def stretches(steps: Vector, levels: Vector) -> Iterator[tuple[float, float, int]]:
    """First step, last step and level of each stretch of equal level: none is thinned away.

    A stretch reaches to where the next begins. A check without a level belongs to none.
    """
    if not len(steps):
        return
    known = np.where(np.isfinite(levels), levels, -1).astype(int)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(known)) + 1])
    ends = np.concatenate([steps[starts[1:]], steps[-1:]])
    for start, end in zip(starts, ends, strict=True):
        if known[start] >= 0:
            yield float(steps[start]), float(end), int(known[start])
