"""Runs the package's judge over recorded windows: any rule, in seconds, without training."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from collapse_logging.report import Report
from collapse_logging.rows import Shape
from collapse_logging.rules import PRESETS, Rules
from collapse_logging.verdict import Judge
from collapse_logging.window import Layout

from .cases import Case
from .record import paths
from .truth import Course, Truth, course


@dataclass(frozen=True)
class Record:
    """One recorded training.

    Attributes:
        case: its definition.
        about: plain values: layouts, versions, seconds.
        arrays: per pace ``checks`` ``[checks, 2]`` (step, steps in the window), ``vectors``
            ``[checks, size]`` and ``probes`` ``[checks, latents, 2]`` (gap and error, nats);
            ``stream/...``, one value a step, or one each 50 steps (``window_...``).
    """

    case: Case
    about: dict[str, Any]
    arrays: dict[str, Any]

    def truths(self, latent: str) -> tuple[list[int], list[Truth]]:
        """Evaluated steps and the truth at each."""
        rows = self.about["truth"]["latents"][latent]
        return self.about["truth"]["steps"], [Truth(**row) for row in rows]

    def course(self, latent: str) -> Course:
        """How the truth of a latent went."""
        return course(*self.truths(latent))

    def layout(self, pace: str) -> Layout:
        """How the vectors of a pace are read."""
        saved = self.about[f"{pace}/layout"]
        shapes = {name: Shape(*shape) for name, shape in saved["latents"].items()}
        return Layout(shapes, saved["losses"])


@dataclass(frozen=True)
class Series:
    """Levels of one latent, or of a baseline, over a run: steps ``[checks]``, levels 0 to 3."""

    steps: tuple[int, ...]
    levels: tuple[int, ...]

    def first(self, level: int, after: int = 0) -> int | None:
        """The first step, not before ``after``, at which the level is at least ``level``."""
        pairs = zip(self.steps, self.levels, strict=True)
        return next((s for s, value in pairs if s >= after and value >= level), None)

    @property
    def changes(self) -> int:
        """How often the level changed, from OK."""
        return int((np.diff((0, *self.levels)) != 0).sum())


@functools.cache
def load(case: Case) -> Record:
    """A case's record.

    Raises:
        FileNotFoundError: it was not trained yet.
    """
    to_arrays, to_about = paths(case)
    with np.load(to_arrays) as saved:
        arrays = {name: saved[name] for name in saved.files}
    return Record(case, json.loads(to_about.read_text()), arrays)


def reports(record: Record, rules: Rules, pace: str, hide_growth: bool = False) -> list[Report]:
    """The reports that a monitor with these rules would have given, in order.

    Args:
        record: the training.
        rules: judged by these; the checks are those of the pace.
        pace: ``"default"`` (a check every 50 steps) or ``"fast"`` (every 20).
        hide_growth: as where no gradient reaches the means.
    """
    judge, layout = Judge(rules), record.layout(pace)
    vectors = record.arrays[f"{pace}/vectors"]
    if hide_growth:
        vectors = without_growth(vectors, layout)
    checks = record.arrays[f"{pace}/checks"].tolist()
    return [
        judge.report(torch.from_numpy(vector), layout, step, steps)
        for vector, (step, steps) in zip(vectors, checks, strict=True)
    ]


def without_growth(vectors: Any, layout: Layout) -> Any:
    """Packed windows whose sums of growth are zero: no gradient was seen."""
    vectors, start = vectors.copy(), 0
    for shape in layout.latents.values():
        end = start + shape.size
        vectors[:, end - 4 * (shape.units + 1) : end] = 0.0
        start = end + 2
    return vectors


def replay(
    record: Record, rules: str | Rules = "default", pace: str = "default", **options: Any
) -> dict[str, Series]:
    """Levels by latent under a preset's name or under rules."""
    chosen = PRESETS[rules] if isinstance(rules, str) else rules
    made = reports(record, chosen, pace, **options)
    steps = tuple(report.step for report in made)
    return {
        name: Series(steps, tuple(int(report.latents[name].level) for report in made))
        for name in record.case["latents"]
    }


def informative(record: Record, rules: str | Rules = "default", pace: str = "default") -> Any:
    """Which units of ``z`` the last check calls informative: a mask ``[units]``."""
    chosen = PRESETS[rules] if isinstance(rules, str) else rules
    last = reports(record, chosen, pace)[-1].latents["z"].per_unit
    signal, variance = last["mean_variance"], last["posterior_variance"]
    return signal > 0.05 * (signal + variance)
