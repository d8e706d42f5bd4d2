"""Scores detectors against the truth: recall, false alarms, delays, level changes.

The unit of every count is one latent of one training. A latent whose truth is *collapsed* is
found when a check that follows its last healthy evaluation reaches the level; one whose truth is
*healthy* raises a false alarm when any check reaches it. An alarm while a latent that collapses
later is still healthy is counted as premature. *Ambiguous* and *transient* latents (healthy,
collapsed, healthy again) are listed with what was said of them and enter no rate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from collapse_logging.rules import PRESETS

from .baselines import BASELINES
from .record import NOT_UPCAST
from .replay import Record, Series, Told, informative, replay
from .truth import AMBIGUOUS, COLLAPSED, COLLAPSED_GAP, ERRORS, HEALTHY, IGNORES

ORANGE, RED = 2, 3
TRANSIENT = "transient"
Detector = Callable[[Record], dict[str, Series]]


def _baseline(rule: Callable[[Record, str], Series]) -> Detector:
    return lambda record: {name: rule(record, name) for name in record.case["latents"]}


_PROBED = Told(probe=True)

DETECTORS: dict[str, Detector] = {
    "default": lambda record: replay(record),
    "fast": lambda record: replay(record, "fast", "fast"),
    "default, probe": lambda record: replay(record, told=_PROBED),
    "fast, probe": lambda record: replay(record, "fast", "fast", told=_PROBED),
    **{name: _baseline(rule) for name, rule in BASELINES.items()},
}
"""What is compared: the package's two paces, with and without the decoder probe, and what people
use instead."""

_IMPATIENT = dataclasses.replace(PRESETS["default"], recovery_checks=1)


def _without_slope(record: Record) -> dict[str, Series]:
    """Every latent is taken to be falling."""
    with mock.patch("collapse_logging.levels.slope", return_value=-1.0):
        return replay(record)


def _merged(record: Record) -> dict[str, Series]:
    """Windows are merged up to 1,024 samples."""
    with mock.patch("collapse_logging.verdict.ENOUGH_SAMPLES", 1024):
        return replay(record)


def _not_upcast(record: Record) -> dict[str, Series]:
    """Where the model runs in bf16, so do the sums."""
    recorded = f"{NOT_UPCAST}/checks" in record.arrays
    return replay(record, pace=NOT_UPCAST if recorded else "default")


ABLATIONS: dict[str, Detector] = {
    "without growth": lambda record: replay(record, told=Told(growth=False)),
    "without the slope of ln U": _without_slope,
    "without hysteresis": lambda record: replay(record, _IMPATIENT),
    "without the fp32 upcast": _not_upcast,
    "windows merged to 1,024": _merged,
    "beta told": lambda record: replay(record, told=Told(beta=True)),
    "literal manual preset": lambda record: replay(record, "manual"),
}
"""The default rule with a part taken out, or put in; the default itself is without the probe."""


@dataclass(frozen=True)
class Outcome:
    """What one detector said of one latent, beside the truth.

    Attributes:
        truth: final category, or ``transient``.
        late: the latent was healthy before it collapsed.
        steps: of the training.
        collapsed_at: time of collapse, None if it did not.
        orange, red: the first step at the level that counts (see the module), None if never.
        premature: a red while a latent that collapses later was still healthy.
        final: level at the last check.
        changes: how often the level changed.
    """

    family: str
    name: str
    held_out: bool
    truth: str
    late: bool
    steps: int
    collapsed_at: int | None
    orange: int | None
    red: int | None
    premature: bool
    final: int
    changes: int

    @property
    def delay_share(self) -> float:
        """Step of the first red as a share of the run; infinite if there was none."""
        return math.inf if self.red is None else self.red / self.steps

    @property
    def delay_steps(self) -> float:
        """Steps from the time of collapse to the first red; negative if it came before."""
        if self.red is None or self.collapsed_at is None:
            return math.inf
        return float(self.red - self.collapsed_at)


def outcomes(record: Record, detector: Detector) -> list[Outcome]:
    """One for each latent of a training."""
    found = []
    for latent, series in detector(record).items():
        steps, truths = record.truths(latent)
        course = record.course(latent)
        healthy = [s for s, t in zip(steps, truths, strict=True) if t.category == HEALTHY]
        last_healthy = max(healthy, default=0) if course.category == COLLAPSED else -1
        early = series.first(RED)
        case = record.case
        found.append(
            Outcome(
                family=case.family,
                name=case.name + (f"/{latent}" if len(case["latents"]) > 1 else ""),
                held_out=case.held_out,
                truth=TRANSIENT if course.transient else course.category,
                late=course.late,
                steps=case.steps,
                collapsed_at=course.collapsed_at,
                orange=series.first(ORANGE, last_healthy + 1),
                red=series.first(RED, last_healthy + 1),
                premature=early is not None and early <= last_healthy,
                final=series.levels[-1],
                changes=series.changes,
            )
        )
    return found


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    share, spread = hits / of, z * z / of
    centre = (share + spread / 2.0) / (1.0 + spread)
    half = z / (1.0 + spread) * math.sqrt(share * (1.0 - share) / of + spread / (4.0 * of))
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(hits: Iterable[bool]) -> dict[str, Any]:
    """Count, total, share and Wilson interval."""
    seen = list(hits)
    low, high = wilson(sum(seen), len(seen))
    share = sum(seen) / len(seen) if seen else None
    return {"hits": sum(seen), "of": len(seen), "share": share, "interval": [low, high]}


def spread(values: Iterable[float]) -> dict[str, float | None]:
    """Median, 90 % and worst; None where it is infinite (never found) or there is nothing."""
    seen = np.sort(np.array(list(values), dtype=float))
    if not len(seen):
        return {"median": None, "p90": None, "worst": None}
    picks = {"median": 0.5, "p90": 0.9, "worst": 1.0}
    read = {n: float(seen[max(math.ceil(q * len(seen)) - 1, 0)]) for n, q in picks.items()}
    return {name: value if math.isfinite(value) else None for name, value in read.items()}


def score(rows: list[Outcome]) -> dict[str, Any]:
    """All measures of one detector over some latents."""
    collapsed = [r for r in rows if r.truth == COLLAPSED]
    healthy = [r for r in rows if r.truth == HEALTHY]
    ignores = [r for r in rows if r.truth == IGNORES]
    return {
        "recall_orange": rate(r.orange is not None for r in collapsed),
        "recall_red": rate(r.red is not None for r in collapsed),
        "false_orange": rate(r.orange is not None for r in healthy),
        "false_red": rate(r.red is not None for r in healthy),
        "premature_red": rate(r.premature for r in collapsed if r.late),
        "ignores_red": rate(r.red is not None for r in ignores),
        "ends_red": rate(r.final >= RED for r in collapsed),
        "delay_share_from_start": spread(r.delay_share for r in collapsed if not r.late),
        "delay_steps_late": spread(r.delay_steps for r in collapsed if r.late),
        "late": sum(r.late for r in collapsed),
        "changes": float(np.mean([r.changes for r in rows])) if rows else None,
        "changes_most": max((r.changes for r in rows), default=None),
        "ambiguous_red": rate(r.red is not None for r in rows if r.truth == AMBIGUOUS),
        "transient_red": rate(r.red is not None for r in rows if r.truth == TRANSIENT),
    }


def by_family(rows: list[Outcome]) -> dict[str, dict[str, Any]]:
    """The scores of each family, and of ``all``."""
    families = dict.fromkeys(r.family for r in rows)
    found = {name: score([r for r in rows if r.family == name]) for name in families}
    return {**found, "all": score(rows)}


def failures(rows: list[Outcome]) -> list[dict[str, Any]]:
    """The latents of which the wrong thing was said, with what it was."""
    wrong = {
        "missed at red": lambda r: r.truth in (COLLAPSED, IGNORES) and r.red is None,
        "false red": lambda r: r.truth == HEALTHY and r.red is not None,
        "false orange": lambda r: r.truth == HEALTHY and r.red is None and r.orange is not None,
        "premature red": lambda r: r.premature,
        "slow (over 20 % of the run)": lambda r: (
            r.truth == COLLAPSED and not r.late and 0.2 < r.delay_share < math.inf
        ),
        "slow (over 200 steps)": lambda r: r.late and 200 < r.delay_steps < math.inf,
    }
    return [
        {"what": what, **dataclasses.asdict(row)}
        for what, test in wrong.items()
        for row in rows
        if test(row)
    ]


def unit_scores(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """Precision and recall of *dead* units in the linear family, at the last check.

    A unit is truly dead when permuting it alone costs the decoder at most 0.1 nats or three
    standard errors; the detector calls it dead when it is not informative.
    """
    dead_called, dead_true, both, agrees = 0, 0, 0, []
    for record in records:
        gaps, errors = record.arrays["unit_gaps"]
        true = gaps <= np.maximum(COLLAPSED_GAP, ERRORS * errors)
        called = ~informative(record)
        dead_called, dead_true = dead_called + int(called.sum()), dead_true + int(true.sum())
        both += int((called & true).sum())
        agrees.append(int((~called).sum()) == record.about["active_in_closed_form"])

    def part(of: int) -> dict[str, Any]:
        return {
            "hits": both,
            "of": of,
            "share": both / of if of else None,
            "interval": wilson(both, of),
        }

    scores = {"precision": part(dead_called), "recall": part(dead_true)}
    return {**scores, "count as in closed form": rate(agrees)}
