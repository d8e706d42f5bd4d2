"""What must hold of what a run left; each check gives what broke, in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collapse_logging.reading.events import load
from collapse_logging.reading.ledger import read_ledger as recording_of
from collapse_logging.reading.reports import report_of
from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger

from .schedule import Schedule
from .training import BOARD, CHECKPOINT, PARAMETERS, TOLD, UNSTEADY

Row = dict[str, Any]
"""A report of the ledger, without what watching cost."""

Key = tuple[int, str, str]


def rows_of(ledger: Path) -> list[Row]:
    """The reports that are not void: a session that begins at a step replaces what was there."""
    rows: list[Row] = []
    begins = True
    for line in read_ledger(ledger) if ledger.exists() else ():
        if line["type"] == "settings":
            begins = True
            continue
        if begins:
            rows = [row for row in rows if row["step"] < line["step"]]
            begins = False
        measures = {k: v for k, v in line["measures"].items() if not k.startswith("overhead")}
        rows.append({**line, "measures": measures})
    return rows


def key(alert: Mapping[str, Any]) -> Key:
    """By which an alert is told from others."""
    return alert["step"], alert["latent"], alert["kind"]


def order(rows: list[Row]) -> list[str]:
    """Steps rise from report to report."""
    steps = [row["step"] for row in rows]
    return [f"step {b} comes after step {a}" for a, b in zip(steps, steps[1:]) if b <= a]  # noqa: B905


def windows(rows: list[Row], schedule: Schedule, until: int) -> list[str]:
    """The windows cut the steps and samples into pieces, none missing up to a step."""
    expected = list(schedule.windows())
    due = sum(window.step <= until for window in expected)
    broken = [f"{len(rows)} windows where {due} were due at step {until}"] * (len(rows) < due)
    for row, window in zip(rows, expected, strict=False):
        z, positions = (_samples(row, name) for name in ("z", "positions"))
        got = (row["step"], row["steps"], (z, positions))
        if got != window:
            return [*broken, f"a window (step, steps, samples) is {got}, expected {tuple(window)}"]
    return broken + ["more windows than the training has"] * (len(rows) > len(expected))


def alerts(rows: list[Row], undisturbed: list[Row], until: int) -> list[str]:
    """Each alert up to a step is there once and says what it says in the undisturbed run."""
    got = Counter(key(alert) for row in rows for alert in row["alerts"])
    expected = {key(a): a for row in undisturbed for a in row["alerts"] if a["step"] <= until}
    broken = [f"alert {which} came {times} times" for which, times in got.items() if times > 1]
    broken += [f"alert {which} is missing" for which in sorted(expected.keys() - got)]
    broken += [f"alert {which} came from nowhere" for which in sorted(got.keys() - expected)]
    said = [alert for row in rows for alert in row["alerts"] if key(alert) in expected]
    return broken + [f"alert {key(a)} says something else" for a in said if a != expected[key(a)]]


def same_reports(rows: list[Row], undisturbed: list[Row]) -> list[str]:
    """Every report is, to the last digit, the undisturbed run's."""
    for row, expected in zip(rows, undisturbed, strict=False):
        if row != expected:
            return [f"the report of step {row['step']} differs: {_difference(row, expected)}"]
    return []


def readers(ledger: Path, rows: list[Row]) -> list[str]:
    """The package's own reader makes of the ledger what these checks do."""
    recording = recording_of(ledger, series=True)
    expected = [alert for row in rows for alert in report_of(row).alerts]
    steps = [] if recording.series is None else recording.series.steps.tolist()
    broken = ["the package reads other steps"] * (steps != [row["step"] for row in rows])
    broken += ["the package reads other alerts"] * (list(recording.alerts) != expected)
    return broken + [f"{recording.damaged} damaged lines"] * bool(recording.damaged)


def curves(folder: Path, rows: list[Row]) -> tuple[list[str], int]:
    """No curve has a step twice as TensorBoard shows it, and each point is the ledger's; points."""
    if not folder.exists():
        return [], 0
    expected = {row["step"]: report_of(row).scalars() for row in rows}
    events, broken, points = load(folder), [], 0
    for tag in events.Tags()["scalars"]:
        shown = events.Scalars(tag)
        steps = [event.step for event in shown]
        points += len(shown)
        if any(b <= a for a, b in zip(steps, steps[1:])):  # noqa: B905
            broken.append(f"{tag} shows steps twice or out of order")
        if "overhead" in tag or not tag.startswith("collapse/"):  # the growth chart's band
            continue
        wrong = [e.step for e in shown if not _shows(expected.get(e.step, {}).get(tag), e.value)]
        broken += [f"{tag} shows another value than the ledger at {wrong}"] * bool(wrong)
    return broken, points


def unsteady(file: Path, undisturbed: list[Row]) -> tuple[list[str], list[Key]]:
    """A writer that raises gets no alert twice and none that is none; and which it never got."""
    taken: list[Key] = []
    for line in map(json.loads, file.read_text().splitlines()):
        if "resumed" in line:
            taken = [which for which in taken if which[0] <= line["resumed"]]
        else:
            taken += map(key, line["alerts"])
    expected = {key(alert) for row in undisturbed for alert in row["alerts"]}
    times = Counter(taken)
    broken = [f"{file.stem}: alert {a} came {n} times" for a, n in times.items() if n > 1]
    broken += [f"{file.stem}: alert {a} came from nowhere" for a in times.keys() - expected]
    return broken, sorted(expected - times.keys())


def parameters(folder: Path, bare: Path) -> list[str]:
    """To the last bit those of the training that nobody watched."""
    got, expected = (torch.load(f / PARAMETERS, weights_only=True) for f in (folder, bare))
    return [f"{name} differs" for name in expected if not torch.equal(got[name], expected[name])]


def said(folder: Path) -> list[str]:
    """No state was left aside, and no fault of ours had to be kept from the training."""
    lines = (folder / TOLD).read_text().splitlines()
    return [line for line in lines if "left aside" in line or "watching failed" in line]


def after_a_kill(folder: Path, schedule: Schedule, undisturbed: list[Row]) -> list[str]:
    """What must hold whenever a session was killed: all up to the checkpoint is on the disk."""
    rows, checkpoint = rows_of(folder / LEDGER_NAME), folder / CHECKPOINT
    saved = torch.load(checkpoint, weights_only=True)["step"] if checkpoint.exists() else 0
    until = max([saved, *(row["step"] for row in rows)])
    return [
        *order(rows),
        *windows(rows, schedule, saved),
        *alerts(rows, undisturbed, until),
        *same_reports(rows, undisturbed),
    ]


def at_the_end(
    folder: Path, bare: Path, schedule: Schedule, undisturbed: list[Row]
) -> tuple[list[str], dict[str, int]]:
    """What must hold of a run that came to its end, and its figures."""
    ledger = folder / LEDGER_NAME
    rows = rows_of(ledger)
    broken = [*order(rows), *windows(rows, schedule, schedule.steps)]
    broken += alerts(rows, undisturbed, schedule.steps) + same_reports(rows, undisturbed)
    broken += readers(ledger, rows) + parameters(folder, bare) + said(folder)
    in_curves, points = curves(folder / BOARD, rows)
    figures = {
        "steps": schedule.steps,
        "windows": len(rows),
        "samples": sum(_samples(row, "z") for row in rows),
        "alerts": sum(len(row["alerts"]) for row in rows),
        "points": points,
        "failures": (folder / TOLD).read_text().count("the schedule wants a failure"),
    }
    for name in UNSTEADY:
        wrong, lost = unsteady(folder / f"{name}.jsonl", undisturbed)
        broken += wrong
        figures[f"lost by {name}"] = len(lost)
    return broken + in_curves, figures


def _samples(row: Row, name: str) -> int:
    return int(row["latents"].get(name, {"measures": {}})["measures"].get("samples", 0))


def _shows(expected: float | None, shown: float) -> bool:
    return expected is not None and np.float32(expected) == np.float32(shown)


def _difference(one: Any, other: Any, path: str = "") -> str:
    """The first place where two reports differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names: Iterable[str] = sorted(one.keys() | other.keys())
        differing = [name for name in names if one.get(name) != other.get(name)]
        if differing:
            name = differing[0]
            return _difference(one.get(name), other.get(name), f"{path}/{name}")
    return f"{path} is {one}, expected {other}"
