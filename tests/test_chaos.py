"""A training in chaos, killed again and again, leaves what an undisturbed one leaves.

``python -m benchmarks.soak`` does it for minutes; this is a short one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.soak import checks
from benchmarks.soak.schedule import BURSTS, Schedule
from benchmarks.soak.training import PARAMETERS, save
from benchmarks.soak.trial import Outcome, trial
from collapse_logging.writers.ledger import LEDGER_NAME

from .ranks.processes import context

Damage = Callable[[list[str]], list[str]]

SCHEDULE = Schedule(seed=4, steps=325, cycle=400, kill_within=120)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One trial."""
    return trial(tmp_path_factory.mktemp("chaos"), SCHEDULE, context, print)


def test_nothing_breaks(outcome: Outcome) -> None:
    """Parameters, reports, alerts, windows and curves are those of the undisturbed run."""
    assert outcome.broken == []
    assert outcome.figures["kills"] >= 3
    assert outcome.figures["points"] > 0
    assert outcome.figures["failures"] > 0
    levels = {alert["level"] for row in outcome.undisturbed for alert in row["alerts"]}
    assert {"OK", "RED"} <= levels  # a collapse and a recovery
    assert len(checks.rows_of(outcome.folder / LEDGER_NAME)) == outcome.figures["windows"]


def test_there_is_chaos() -> None:
    """Over a longer training the schedule has everything that it is there for."""
    schedule = Schedule(seed=0, steps=3005)
    steps = range(1, schedule.steps + 1)
    assert {0, 1, 64} <= {schedule.rows(step) for step in steps}
    assert set(BURSTS) <= {schedule.burst(step) for step in steps}
    assert {"delete", "rename"} <= {schedule.strike(step) for step in steps}
    windows = list(schedule.windows())
    assert len(windows) < -(-schedule.steps // schedule.check_every)  # some have no sample
    assert windows[-1].steps == schedule.steps % schedule.check_every


def doubled_alert(lines: list[str]) -> list[str]:
    """The last alerts are in the last report again."""
    last = json.loads(lines[-1])
    last["alerts"] += json.loads(lines[last_alerts(lines)])["alerts"]
    return [*lines[:-1], json.dumps(last)]


def lost_alert(lines: list[str]) -> list[str]:
    """The last report with alerts has lost them."""
    at = last_alerts(lines)
    return [*lines[:at], json.dumps({**json.loads(lines[at]), "alerts": []}), *lines[at + 1 :]]


def last_alerts(lines: list[str]) -> int:
    """The last line with alerts; an earlier one may be void."""
    return max(at for at, line in enumerate(lines) if json.loads(line).get("alerts"))


def lost_report(lines: list[str]) -> list[str]:
    """A window is missing."""
    return [*lines[:-3], *lines[-2:]]


def doubled_report(lines: list[str]) -> list[str]:
    """A report is there twice within a session."""
    return [*lines, lines[-1]]


def lost_end(lines: list[str]) -> list[str]:
    """The last window was not written."""
    return lines[:-1]


def another_number(lines: list[str]) -> list[str]:
    """A window has a sample too many."""
    last = json.loads(lines[-1])
    last["latents"]["z"]["measures"]["samples"] += 1
    return [*lines[:-1], json.dumps(last)]


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        (doubled_alert, "came 2 times"),
        (lost_alert, "is missing"),
        (lost_report, "a window"),
        (doubled_report, "comes after"),
        (lost_end, "were due"),
        (another_number, "a window"),
    ],
)
def test_the_checks_can_fail(outcome: Outcome, tmp_path: Path, damage: Damage, broken: str) -> None:
    """A ledger that says something else than it should is found out."""
    run = shutil.copytree(outcome.folder, tmp_path / "run")
    ledger, bare = run / LEDGER_NAME, outcome.folder.parent / "bare"
    assert checks.at_the_end(run, bare, SCHEDULE, outcome.undisturbed)[0] == []
    lines = damage(ledger.read_text().splitlines())
    ledger.write_text("".join(f"{line}\n" for line in lines))
    found, _ = checks.at_the_end(run, bare, SCHEDULE, outcome.undisturbed)
    assert any(broken in what for what in found), found
    assert checks.after_a_kill(run, SCHEDULE, outcome.undisturbed) or damage is lost_end


def test_the_check_of_curves_and_parameters_can_fail(outcome: Outcome, tmp_path: Path) -> None:
    """Event files of two runs in one folder show steps twice; another run's parameters differ."""
    run = shutil.copytree(outcome.folder, tmp_path / "run")
    watched, bare = (outcome.folder.parent / name for name in ("watched", "bare"))
    for file in (watched / "board").glob("events*"):
        shutil.copy(file, run / "board" / f"{file.name}.again")
    rows = checks.rows_of(run / LEDGER_NAME)
    found, _ = checks.curves(run / "board", rows)
    assert any("twice" in what for what in found)
    assert checks.parameters(run, bare) == []
    other = other_parameters(tmp_path / "other", bare)
    assert len(checks.parameters(other, bare)) == 1


def other_parameters(folder: Path, bare: Path) -> Path:
    """The same parameters, but for one number of one of them."""
    folder.mkdir()
    state = torch.load(bare / PARAMETERS, weights_only=True)
    next(iter(state.values())).view(-1)[0] += 1e-6
    save(state, folder / PARAMETERS)
    return folder
