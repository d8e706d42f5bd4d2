"""Runs the package's judge over recorded windows: any rule, in seconds, without training."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from collapse_logging.report import Report
from collapse_logging.rows import Shape
from collapse_logging.rules import PRESETS, Rules
from collapse_logging.snapshot import EXTRAS, Seen, Snapshot
from collapse_logging.statistics import Statistics
from collapse_logging.verdict import Judge

from .cases import Case
from .record import paths
from .truth import Course, Truth, course


@dataclass(frozen=True)
class Record:
    """One recorded training.

    Attributes:
        case: its definition.
        about: plain values: layouts, versions, seconds.
        arrays: per pace ``checks`` ``[checks, 2]`` (step, steps in the window), ``losses``
            ``[checks, steps]``, ``probes`` ``[checks, latents, 2]`` (gap and error, nats) and by
            latent ``sums`` ``[checks, size]`` and ``extras`` ``[checks, 4]``; ``stream/...``,
            one value a step, or one each 50 steps (``window_...``).
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

    def snapshots(self, pace: str) -> Iterator[Snapshot]:
        """The windows of a pace, in order, as they came to the judge."""
        shapes = {n: Shape(*shape) for n, shape in self.about[f"{pace}/shapes"].items()}
        checks, beta = self.arrays[f"{pace}/checks"], self.arrays["stream/beta"]
        for i, (step, _) in enumerate(checks.tolist()):
            latents = {}
            for name, shape in shapes.items():
                sums = torch.from_numpy(self.arrays[f"{pace}/{name}/sums"][i])
                extras = self.arrays[f"{pace}/{name}/extras"][i].tolist()
                seen = dict(zip(EXTRAS, extras, strict=True))
                latents[name] = Seen(Statistics.unpack(sums, shape), seen)
            losses = tuple(self.arrays[f"{pace}/losses"][i].tolist())
            yield Snapshot(latents, losses, float(beta[step - 1]))


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


@dataclass(frozen=True)
class Told:
    """What the detector is told beside the posteriors; each is an ablation when it is not.

    Attributes:
        growth: gradients reach the means.
        beta: the weight of the KL is told.
        probe: the decoder is probed whenever the judge asks for it.
    """

    growth: bool = True
    beta: bool = False
    probe: bool = False


def reports(record: Record, rules: Rules, pace: str, told: Told) -> list[Report]:
    """The reports that a monitor with these rules would have given, in order.

    Args:
        record: the training.
        rules: judged by these; the checks are those of the pace.
        pace: ``"default"`` (a check every 50 steps) or ``"fast"`` (every 20).
        told: what else the detector knows.
    """
    judge, made = Judge(rules), []
    for i, snapshot in enumerate(record.snapshots(pace)):
        gaps = record.arrays[f"{pace}/probes"][i] if told.probe and judge.wants_probe else None
        step, steps = record.arrays[f"{pace}/checks"][i].tolist()
        made.append(judge.report(_as_told(snapshot, told, gaps), step, steps))
    return made


def _as_told(snapshot: Snapshot, told: Told, gaps: Any) -> Snapshot:
    latents = {}
    for i, (name, seen) in enumerate(snapshot.latents.items()):
        if not told.growth:
            seen.statistics.growth_sums.zero_()
        probed = {} if gaps is None else dict(zip(EXTRAS[2:], gaps[i].tolist(), strict=True))
        latents[name] = Seen(seen.statistics, {**seen.extras, **probed})
    return Snapshot(latents, snapshot.losses, snapshot.beta if told.beta else math.nan)


def replay(
    record: Record,
    rules: str | Rules = "default",
    pace: str = "default",
    told: Told = Told(),
) -> dict[str, Series]:
    """Levels by latent under a preset's name or under rules."""
    chosen = PRESETS[rules] if isinstance(rules, str) else rules
    made = reports(record, chosen, pace, told)
    steps = tuple(report.step for report in made)
    return {
        name: Series(steps, tuple(int(report.latents[name].level) for report in made))
        for name in record.case["latents"]
    }


def informative(record: Record, rules: str | Rules = "default", pace: str = "default") -> Any:
    """Which units of ``z`` the last check calls informative: a mask ``[units]``."""
    chosen = PRESETS[rules] if isinstance(rules, str) else rules
    last = reports(record, chosen, pace, Told())[-1].latents["z"].per_unit
    signal, variance = last["mean_variance"], last["posterior_variance"]
    return signal > 0.05 * (signal + variance)
