"""What one detector left behind of one run, whichever file it was read from."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..report import Alert, Report, Vector

DRAWN = (
    "level",
    "information",
    "kl",
    "growth",
    "posterior_variance",
    "mean_variance",
    "active_fraction",
)
"""A latent's scalars that are kept for every check."""


@dataclass(frozen=True)
class UnitHistory:
    """Information of each unit of a latent over time.

    Attributes:
        steps: training steps of the rows, ``[rows]``; not every check has one.
        values: nats, ``[rows, units]``.
    """

    steps: Vector
    values: Vector


@dataclass(frozen=True)
class Series:
    """Scalars of every check.

    Attributes:
        steps: training step of each check, ascending, ``[checks]``.
        scalars: ``[checks]`` by ``<latent>/<measure>`` or ``<measure>``; NaN where there was none.
        units: by latent; only a ledger has them.
    """

    steps: Vector
    scalars: Mapping[str, Vector]
    units: Mapping[str, UnitHistory] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """One detector's record of one run.

    Attributes:
        path: the ledger, the folder of event files or the ``.wandb`` file.
        source: ``"ledger"``, ``"event files"`` or ``"W&B file"``.
        name: the detector's name, which is the first part of its tags; None from a ledger.
        report: the newest check, None if there was none.
        alerts: changes of level, oldest first.
        settings: thresholds in force, if they are on record.
        series: scalars of every check, where they were asked for.
        damaged: lines that could not be read and were left out.
        problem: why nothing could be read, empty if it could.
    """

    path: Path
    source: str
    name: str | None = None
    report: Report | None = None
    alerts: tuple[Alert, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    series: Series | None = None
    damaged: int = 0
    problem: str = ""

    @property
    def folder(self) -> Path:
        """Where a person would say that the run is."""
        return self.path if self.path.is_dir() else self.path.parent

    def since(self, latent: str) -> int | None:
        """Step at which a latent came to the level that it has now; None if it never changed."""
        steps = [a.step for a in self.alerts if a.latent == latent and a.kind == "collapse"]
        return steps[-1] if steps else None


class Columns:
    """Collects scalars check by check; what a resumed run repeats is cut off first."""

    def __init__(self) -> None:
        self.steps = array("d")
        self._columns: dict[str, array[float]] = {}

    def add(self, step: float, values: Mapping[str, float | None]) -> None:
        """One check's values; None and what is missing become NaN."""
        columns = self._columns
        for tag in values:
            if tag not in columns:
                columns[tag] = array("d", [math.nan]) * len(self.steps)
        self.steps.append(step)
        for tag, column in columns.items():
            value = values.get(tag)
            column.append(math.nan if value is None else value)

    def cut(self, step: float) -> None:
        """Forget everything at and after a step: a later session began there again."""
        place = bisect_left(self.steps, step)
        for column in (self.steps, *self._columns.values()):
            del column[place:]

    def series(self, units: Mapping[str, UnitHistory]) -> Series:
        """What was collected."""
        columns = {tag: np.array(column) for tag, column in self._columns.items()}
        return Series(np.array(self.steps), columns, units)
