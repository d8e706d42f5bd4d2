"""Weights & Biases: the offline .wandb file read back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapse_logging import Level, Report
from collapse_logging.report import LatentReport
from collapse_logging.writers import WandbWriter
from collapse_logging.writers.base import histograms
from tests.lightning.readers import wandb_records, wandb_rows

wandb = pytest.importorskip("wandb")


@pytest.fixture
def record(tmp_path: Path) -> Callable[[Callable[[Any], object]], list[Any]]:
    """Runs a function on an offline run and gives the run's records."""

    def run_and_read(use: Callable[[Any], object]) -> list[Any]:
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        run = wandb.init(project="test", mode="offline", dir=str(tmp_path), settings=settings)
        try:
            use(run)
            file = Path(run.settings.sync_file)
        finally:
            run.finish()
        return wandb_records(file)

    return run_and_read


def write_all(writer: WandbWriter, reports: list[Report]) -> None:
    """Open, write every report, close."""
    writer.open({"kl_threshold": 0.01})
    for report in reports:
        writer.write(report)
    writer.close()


def updates(records: list[Any], field: str) -> dict[str, Any]:
    """What the run's summary or config is in the end, nested keys joined."""
    return {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in records
        for item in getattr(record, field).update
    }


def alerts_of(records: list[Any]) -> list[Any]:
    """The alert records."""
    return [record.alert for record in records if record.HasField("alert")]


def assert_rows(found: list[dict[str, Any]], reports: list[Report], axis: str) -> None:
    """One row a report with its scalars, its step and its histograms."""
    ours = [row for row in found if "collapse/level" in row]
    assert [row[axis] for row in ours] == [report.step for report in reports]
    for row, report in zip(ours, reports, strict=True):
        expected = {tag: pytest.approx(value) for tag, value in report.scalars().items()}
        assert {tag: row[tag] for tag in expected} == expected


def test_rows_of_our_own(record: Any, reports: list[Report]) -> None:
    """With own_rows=True every check is a row with all scalars, over our step."""
    records = record(lambda run: write_all(WandbWriter(run, own_rows=True), reports))
    found = wandb_rows(records)
    assert_rows(found, reports, "collapse/step")
    axes = {r.metric.name: r.metric.step_metric for r in records if r.HasField("metric")}
    assert {axes[tag] for tag in reports[-1].scalars()} == {"collapse/step"}


def test_histograms_have_our_bins(record: Any, reports: list[Report]) -> None:
    """Counts and edges of both variances are stored as they were computed."""
    records = record(lambda run: write_all(WandbWriter(run, own_rows=True), reports[:1]))
    (row,) = wandb_rows(records)
    for tag, (counts, edges) in histograms(reports[0]).items():
        assert row[tag]["_type"] == "histogram"
        assert row[tag]["values"] == counts.tolist()
        assert row[tag]["bins"] == pytest.approx(edges)


def test_histograms_are_ten_times_rarer(record: Any, healthy: list[Report]) -> None:
    """After the first ten checks a row in ten has them, and no more."""
    later = [replace(healthy[-1], check=check, alerts=()) for check in range(10, 50)]
    records = record(lambda run: write_all(WandbWriter(run, own_rows=True), later))
    shown = ["collapse/z/log10_mean_variance" in row for row in wandb_rows(records)]
    assert shown == [check % 10 == 0 for check in range(10, 50)]


def test_one_alert_a_transition_with_its_level(record: Any, reports: list[Report]) -> None:
    """Yellow is INFO, orange WARN, red ERROR; each once, with the whole text and the time."""
    records = record(lambda run: write_all(WandbWriter(run), reports))
    alerts = [alert for report in reports for alert in report.alerts]
    found = alerts_of(records)
    assert [alert.level for alert in found] == ["INFO", "WARN", "ERROR"]
    for shown, alert in zip(found, alerts, strict=True):
        assert shown.title == alert.title
        assert len(shown.title) < 64
        assert shown.text.startswith(alert.text)
        assert shown.text.endswith("UTC")
        assert shown.wait_duration < 60


def test_verdict_and_thresholds_are_where_people_look(record: Any, reports: list[Report]) -> None:
    """The summary has verdict, last healthy step and the newest scalars, the config the rules."""
    records = record(lambda run: write_all(WandbWriter(run), reports))
    summary = updates(records, "summary")
    assert summary["collapse/verdict"] == "RED"
    assert summary["collapse/last_healthy_step"] == reports[-1].last_healthy_step
    for tag, value in reports[-1].scalars().items():
        assert summary[tag] == pytest.approx(value)
    assert updates(records, "config")["collapse"] == {"kl_threshold": 0.01}


# each way of logging: (checks from one call to the next, what is called)
STYLES: dict[str, tuple[int, Callable[[Any, int, int], None]]] = {
    "step": (1, lambda run, n, step: run.log({"mine": n}, step=step)),
    "step, committed": (1, lambda run, n, step: run.log({"mine": n}, step=step, commit=True)),
    "step, uncommitted": (1, lambda run, n, step: run.log({"mine": n}, step=step, commit=False)),
    "plain": (1, lambda run, n, step: run.log({"mine": n})),
    "uncommitted": (
        1,
        lambda run, n, step: (run.log({"mine": n}, commit=False), run.log({"other": 1})),
    ),
    "step in parts": (
        1,
        lambda run, n, step: (run.log({"mine": n}, step=step), run.log({"other": 1}, step=step)),
    ),
    "rare epochs": (4, lambda run, n, step: run.log({"mine": n}, step=n // 4)),
    "rare and plain": (4, lambda run, n, step: run.log({"mine": n})),
}


# where they give a step: the steps at which their rows must be
AXES: dict[str, Callable[[list[Report]], list[int]]] = {
    "step": lambda reports: [report.step for report in reports],
    "step, committed": lambda reports: [report.step for report in reports],
    "step, uncommitted": lambda reports: [report.step for report in reports],
    "step in parts": lambda reports: [report.step for report in reports],
    "rare epochs": lambda reports: [0, 1, 2],
}


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
@pytest.mark.parametrize("style", STYLES)
def test_nothing_of_the_users_is_dropped(
    record: Any, reports: list[Report], style: str, ours_first: bool
) -> None:
    """However the user logs, before or after us, each of their rows arrives at its step.

    Ours do too where they log as often; where they log more rarely, each of their rows has the
    newest check before it.
    """
    every, log = STYLES[style]

    def use(run: Any) -> None:
        writer = WandbWriter(run)
        writer.open({})
        for n, report in enumerate(reports):
            turns = [lambda r=report: writer.write(r)]
            if n % every == 0:
                turns.append(lambda n=n, r=report: log(run, n, r.step))
            for turn in turns if ours_first else reversed(turns):
                turn()

    found = wandb_rows(record(use))
    theirs = [row for row in found if "mine" in row]
    assert [row["mine"] for row in theirs] == list(range(0, len(reports), every))
    if style in AXES:
        assert [row["_step"] for row in theirs] == AXES[style](reports)
    others = [row for row in found if "other" in row]
    assert len(others) == (len(reports) if style in ("uncommitted", "step in parts") else 0)
    kept = [row["collapse/step"] for row in found if "collapse/step" in row]
    steps = [report.step for report in reports]
    assert kept == steps if every == 1 else len(kept) >= len(theirs)
    assert kept[-1] == steps[-1]


def test_where_nobody_else_logs_the_newest_check_is_kept_and_it_is_said(
    record: Any, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """One row with the newest check, every alert, and one hint how to have a row a check."""
    with caplog.at_level(logging.WARNING, "collapse_logging"):
        records = record(lambda run: write_all(WandbWriter(run), reports))
    assert_rows(wandb_rows(records), reports[-1:], "collapse/step")
    assert len(alerts_of(records)) == 3
    assert len([m for m in caplog.messages if "own_rows=True" in m]) == 1


def test_no_hint_where_the_user_logs(
    record: Any, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever logs at all is not told to change anything."""

    def use(run: Any) -> None:
        writer = WandbWriter(run)
        for report in reports:
            writer.write(report)
            run.log({"mine": 1.0})

    with caplog.at_level(logging.WARNING, "collapse_logging"):
        record(use)
    assert caplog.messages == []


def test_under_lightning_each_check_is_a_row_on_its_axis(
    record: Any, reports: list[Report]
) -> None:
    """Each row is committed and carries trainer/global_step."""
    axis = "trainer/global_step"
    records = record(lambda run: write_all(WandbWriter(run, step_metric=axis), reports))
    assert_rows(wandb_rows(records), reports, axis)


def test_nothing_that_is_not_finite_is_written(record: Any) -> None:
    """NaN and infinity are left out of rows, histograms and summary."""
    bad = np.array([np.nan, np.inf])
    measures = {"kl": float("nan"), "growth": float("-inf"), "fine": 2.0}
    latent = LatentReport(
        Level.OK, measures, {"posterior_variance": bad, "mean_variance": np.append(bad, 1.0)}
    )
    records = record(lambda run: WandbWriter(run).write(Report(1, 0, Level.OK, {"z": latent})))
    (row,) = wandb_rows(records)
    assert {key for key in row if key.startswith("collapse/z")} == {
        "collapse/z/level",
        "collapse/z/fine",
        "collapse/z/log10_mean_variance",
    }
    assert sum(row["collapse/z/log10_mean_variance"]["values"]) == 1
    assert "collapse/z/kl" not in updates(records, "summary")


def test_the_run_is_the_users(
    record: Any, reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither init nor finish is called: the run is open when the writer is closed."""

    def use(run: Any) -> None:
        with monkeypatch.context() as patch:
            for owner, name in ((wandb, "init"), (wandb, "finish"), (type(run), "finish")):
                patch.setattr(owner, name, lambda *_, **__: pytest.fail("not ours to call"))
            write_all(WandbWriter(run, own_rows=True), reports)
        run.log({"mine": 1.0})

    assert wandb_rows(record(use))[-1]["mine"] == 1.0
