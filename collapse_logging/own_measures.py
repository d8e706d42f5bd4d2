"""Measures that users pass in: functions of a window's sums whose names become tags."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from .arguments import checked_list, checked_name, got
from .cells import FamilyReading, Reading
from .messages import MEASURES
from .report import Vector

Measure = Callable[[Reading | FamilyReading], float | Vector | None]
"""Takes a latent's window on the host; gives a number, one a unit, or None where there is none."""

_log = logging.getLogger("collapse_logging")


class OwnMeasures:
    """Takes the user's measures of every window; one that fails is told once and left out.

    Args:
        measures: functions, or objects with ``__call__`` and ``name``.
        strict: raise what a measure raises.

    Attributes:
        given: the measures as they were given.
        strict: as given.

    Raises:
        TypeError, ValueError: not callable, without a name, or with one that is taken.
    """

    def __init__(self, measures: Sequence[Measure] = (), strict: bool = False) -> None:
        self._measures: dict[str, Measure] = {}
        for measure in checked_list(measures, "measures", callable):
            name = _name_of(measure)
            if name in MEASURES or name in self._measures:
                raise ValueError(
                    f"measures: expected a name of its own, got {name!r}, which is taken; rename "
                    "the function, or give the object another name."
                )
            self._measures[name] = measure
        self.given = measures
        self.strict = strict
        self._failed: set[tuple[str, str]] = set()

    def of(
        self, latent: str, read: Reading | FamilyReading, units: int
    ) -> tuple[dict[str, float], dict[str, Vector]]:
        """Scalars and per-unit vectors by name; a vector's scalar is its mean.

        Args:
            latent: its name.
            read: its window.
            units: how many it has.
        """
        scalars: dict[str, float] = {}
        per_unit: dict[str, Vector] = {}
        for name, measure in self._measures.items():
            if (latent, name) in self._failed:
                continue
            try:
                values = _checked(name, measure(read), units)
            except Exception:
                if self.strict:
                    raise
                self._failed.add((latent, name))
                _log.warning(
                    "measure %r of latent %r failed and is left out from now on; training and all "
                    "else go on.",
                    *(name, latent),
                    exc_info=True,
                )
                continue
            if values is not None and values.ndim:
                per_unit[name] = values
            known = np.empty(0) if values is None else values[np.isfinite(values)]
            if known.size:
                scalars[name] = float(known.mean())
        return scalars, per_unit


def _name_of(measure: Measure) -> str:
    name = getattr(measure, "name", None) or getattr(measure, "__name__", None)
    if name is None or name == "<lambda>":
        raise TypeError(
            f"measures: expected a function with a name, got {got(measure)}; its name is the tag: "
            "write def my_measure(window), or give the object an attribute name."
        )
    return checked_name("measures", name)


def _checked(name: str, found: object, units: int) -> Vector | None:
    if found is None:
        return None
    values: Vector = np.asarray(found, dtype=np.float64)
    if values.shape not in ((), (units,)):
        raise ValueError(
            f"measure {name!r}: expected a number or one a unit, [{units}], got "
            f"{list(values.shape)}; reduce over the positions."
        )
    return values
