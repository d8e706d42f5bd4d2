"""Trackio: a local project, read back from its SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collapse_logging import Alert, Level, Report
from collapse_logging.report import LatentReport
from collapse_logging.writers import TrackioWriter
from collapse_logging.writers.base import histograms


class Stored(NamedTuple):
    """What a run left: (step, values) of each row, and (step, title, text, level) of alerts."""

    rows: list[tuple[int, dict[str, Any]]]
    alerts: list[tuple[int, str, str, str]]


@pytest.fixture(scope="module")
def folder() -> Path:
    """Trackio's folder, which tests/conftest.py sets before anybody imports trackio."""
    pytest.importorskip("trackio", reason="trackio is not installed")
    return Path(os.environ["TRACKIO_DIR"])


@pytest.fixture
def stored(folder: Path, request: pytest.FixtureRequest) -> Callable[..., Stored]:
    """Runs a function on a run of its own project and reads what is stored."""
    import trackio

    def run_and_read(use: Callable[[Any], object]) -> Stored:
        project = f"p{abs(hash(request.node.name))}"
        quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        run = trackio.init(project=project, name="run", **quiet)
        try:
            use(run)
        finally:
            trackio.finish()
        base = sqlite3.connect(folder / f"{project}.db")
        rows = base.execute("select step, metrics from metrics order by id").fetchall()
        alerts = base.execute("select step, title, text, level from alerts order by id").fetchall()
        base.close()
        return Stored([(step, json.loads(values)) for step, values in rows], alerts)

    return run_and_read


def write_all(writer: TrackioWriter, reports: list[Report]) -> None:
    """Open, write every report, close."""
    writer.open({"kl_threshold": 0.01})
    for report in reports:
        writer.write(report)
    writer.close()


def test_every_scalar_is_there_at_its_step(stored: Any, reports: list[Report]) -> None:
    """A row a check with all scalars; the first says the thresholds."""
    found = stored(lambda run: write_all(TrackioWriter(run), reports))
    assert [step for step, _ in found.rows] == [report.step for report in reports]
    for (_, row), report in zip(found.rows, reports, strict=True):
        expected = {tag: pytest.approx(value) for tag, value in report.scalars().items()}
        assert {tag: row[tag] for tag in expected} == expected
    assert ["collapse/about" in row for _, row in found.rows] == [True] + [False] * 11
    assert "0.01" in found.rows[0][1]["collapse/about"]["_value"]


def test_histograms_have_our_bins(stored: Any, reports: list[Report]) -> None:
    """Counts and edges of both variances are stored as they were computed."""
    found = stored(lambda run: write_all(TrackioWriter(run), reports[:1]))
    ((_, row),) = found.rows
    for tag, (counts, edges) in histograms(reports[0]).items():
        assert row[tag]["_type"] == "trackio.histogram"
        assert row[tag]["values"] == counts.tolist()
        assert row[tag]["bins"] == pytest.approx(edges)


def test_one_alert_a_transition_with_its_level(stored: Any, reports: list[Report]) -> None:
    """Yellow is info, orange warn, red error; each once, at its step, with the whole text."""
    found = stored(lambda run: write_all(TrackioWriter(run), reports))
    alerts = [alert for report in reports for alert in report.alerts]
    assert [level for *_, level in found.alerts] == ["info", "warn", "error"]
    for (step, title, text, _), alert in zip(found.alerts, alerts, strict=True):
        assert (step, title) == (alert.step, alert.title)
        assert text.startswith(alert.text)


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
@pytest.mark.parametrize("steps", [True, False], ids=["own steps", "no steps"])
def test_the_users_rows_stay_as_they_are(
    stored: Any, reports: list[Report], steps: bool, ours_first: bool
) -> None:
    """Each is there, at the step that the user gave or that Trackio would have counted."""

    def use(run: Any) -> None:
        writer = TrackioWriter(run)
        for number, report in enumerate(reports):
            turns = [
                lambda r=report: writer.write(r),
                lambda n=number: run.log({"mine": n}, step=2 * n if steps else None),
            ]
            for turn in turns if ours_first else reversed(turns):
                turn()

    theirs = [(step, row["mine"]) for step, row in stored(use).rows if "mine" in row]
    assert theirs == [(2 * n if steps else n, n) for n in range(len(reports))]


def test_a_hundred_alternations_are_twenty_alerts_and_one_that_says_so(stored: Any) -> None:
    """They may go on to Slack or Discord."""

    def use(run: Any) -> None:
        writer = TrackioWriter(run)
        for step in range(100):
            before, level = (Level.RED, Level.OK) if step % 2 else (Level.OK, Level.RED)
            writer.write(Report(step, step, level, {}, (Alert(step, "z", before, level),)))
        writer.close()

    said = ["further alerts suppressed" in text for _, _, text, _ in stored(use).alerts]
    assert said == [False] * 20 + [True]


@pytest.mark.parametrize("name", ["z*", "../a.b", "`|<img src=x>\n", "<!channel> @here"])
def test_odd_names_and_values(stored: Any, name: str) -> None:
    """A name is a key like any other; in an alert it mentions nobody and is no markup."""
    latent = LatentReport(Level.OK, {"kl": float("nan"), "growth": 1.0}, {})
    alert = Alert(1, name, Level.OK, Level.RED)
    report = Report(1, 0, Level.RED, {name: latent}, (alert,))
    found = stored(lambda run: TrackioWriter(run).write(report))
    ((_, row),) = found.rows
    assert row[f"collapse/{name}/growth"] == 1.0
    assert f"collapse/{name}/kl" not in row
    ((_, title, text, _),) = found.alerts
    assert not [c for c in "<@`" if c in title + text]


def test_what_is_no_run_is_refused() -> None:
    """The error says what to pass."""
    with pytest.raises(TypeError, match=r"run: expected .* got NoneType; write TrackioWriter"):
        TrackioWriter(None)
