"""Weights & Biases where it is awkward: step axes, rare users, storms, odd names, dead runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapse_logging import Alert, Level, Report
from collapse_logging.report import LatentReport
from collapse_logging.writers import WandbWriter
from collapse_logging.writers.guard import GuardedWriter
from tests.lightning.readers import wandb_records, wandb_rows

wandb = pytest.importorskip("wandb")

Use = Callable[[Any], None]


def start(folder: Path) -> Any:
    """An offline run that is silent."""
    settings = wandb.Settings(silent=True, console="off")
    return wandb.init(project="test", mode="offline", dir=str(folder), settings=settings)


def records_of(folder: Path, use: Use) -> list[Any]:
    """The records of an offline run after ``use``."""
    run = start(folder)
    file = Path(run.settings.sync_file)
    try:
        use(run)
    finally:
        run.finish()
    return wandb_records(file)


def write_all(writer: WandbWriter, reports: list[Report]) -> None:
    """Open, then write every report."""
    writer.open({})
    for report in reports:
        writer.write(report)


@pytest.mark.parametrize("first_at", [0, 11])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_user_who_logs_epochs_loses_no_row(
    tmp_path: Path, reports: list[Report], calls: int, first_at: int
) -> None:
    """Explicit small steps, twice an epoch and beginning late: all arrive, and our newest too."""
    sent: list[tuple[str, float]] = []

    def use(run: Any) -> None:
        writer = WandbWriter(run)
        writer.open({})
        for index, report in enumerate(reports):
            writer.write(report)
            if index >= first_at and (index - first_at) % 4 == 0:
                for name in ("train", "val")[:calls]:
                    run.log({name: float(index)}, step=(index - first_at) // 4)
                    sent.append((name, float(index)))

    rows = wandb_rows(records_of(tmp_path, use))
    found = [(name, row[name]) for row in rows for name in ("train", "val") if name in row]
    assert sorted(found) == sorted(sent)
    assert rows[-1]["collapse/step"] == reports[-1].step


@pytest.mark.parametrize("style", ["plain", "rare", "uncommitted"])
def test_rows_of_our_own_cost_a_user_without_steps_nothing(
    tmp_path: Path, reports: list[Report], style: str
) -> None:
    """With own_rows every check is a row, and every value of the user's is in one too."""
    sent: list[int] = []

    def use(run: Any) -> None:
        writer = WandbWriter(run, own_rows=True)
        for index, report in enumerate(reports):
            if style != "rare" or index % 4 == 0:
                sent.append(index)
                run.log({"mine": index}, commit=None if style != "uncommitted" else False)
            writer.write(report)

    rows = wandb_rows(records_of(tmp_path, use))
    assert [row["mine"] for row in rows if "mine" in row] == sent
    ours = [row["collapse/step"] for row in rows if "collapse/level" in row]
    assert ours == [report.step for report in reports]


def test_a_users_star_does_not_take_our_axis(tmp_path: Path, reports: list[Report]) -> None:
    """W&B lets the first glob win; ours are defined by their full names."""

    def use(run: Any) -> None:
        run.define_metric("*", step_metric="epoch")
        write_all(WandbWriter(run, own_rows=True), reports)

    metrics = [r.metric for r in records_of(tmp_path, use) if r.HasField("metric")]
    axes = {metric.name: metric.step_metric for metric in metrics}
    assert {axes[tag] for tag in reports[-1].scalars()} == {"collapse/step"}
    assert [m.options.hidden for m in metrics if m.name == "collapse/step"] == [True]


def test_two_prefixes_have_two_axes(tmp_path: Path, reports: list[Report]) -> None:
    """Two detectors on one run do not overwrite each other's step."""

    def use(run: Any) -> None:
        for prefix in ("a", "b"):
            write_all(WandbWriter(run, prefix=prefix), reports[:1])

    (row,) = wandb_rows(records_of(tmp_path, use))
    assert (row["a/step"], row["b/step"]) == (reports[0].step, reports[0].step)


def test_a_hundred_alternations_are_twenty_alerts_and_one_that_says_so(tmp_path: Path) -> None:
    """A latent that goes red and recovers fifty times; none is held back by W&B itself."""

    def use(run: Any) -> None:
        writer = WandbWriter(run)
        for step in range(100):
            before, level = (Level.RED, Level.OK) if step % 2 else (Level.OK, Level.RED)
            writer.write(Report(step, step, level, {}, (Alert(step, "z", before, level),)))
        writer.close()

    alerts = [r.alert for r in records_of(tmp_path, use) if r.HasField("alert")]
    assert ["further alerts suppressed" in alert.text for alert in alerts] == [False] * 20 + [True]
    assert {alert.wait_duration for alert in alerts} == {1}


def test_a_run_that_is_resumed_has_no_new_twenty(tmp_path: Path) -> None:
    """A job that dies and is resumed again and again: twenty alerts of the run, not of each job."""

    def use(run: Any) -> None:
        for job in range(5):
            writer = WandbWriter(run)
            writer.open({})
            for step in range(12 * job, 12 * job + 12):
                before, level = (Level.RED, Level.OK) if step % 2 else (Level.OK, Level.RED)
                writer.write(Report(step, step, level, {}, (Alert(step, "z", before, level),)))
            writer.close()
        assert run.summary["collapse/messages"] == 20

    alerts = [r.alert for r in records_of(tmp_path, use) if r.HasField("alert")]
    assert ["further alerts suppressed" in alert.text for alert in alerts] == [False] * 20 + [True]


def test_an_alert_that_waits_is_sent_at_the_end(tmp_path: Path) -> None:
    """A recovery within the minute of its alert is in the run when the writer is closed."""
    levels = [(Level.OK, Level.RED), (Level.RED, Level.OK)]

    def use(run: Any) -> None:
        writer = WandbWriter(run)
        for step, (before, level) in enumerate(levels):
            writer.write(Report(step, step, level, {}, (Alert(step, "z", before, level),)))
        run.log({"mine": 1.0})
        writer.close()

    alerts = [r.alert for r in records_of(tmp_path, use) if r.HasField("alert")]
    assert [alert.title for alert in alerts] == [
        "posterior collapse: z OK -> RED",
        "recovery: z RED -> OK",
    ]


@pytest.mark.parametrize("name", ["z*", "a.b", "*", "`|<img>\n"])
def test_odd_names_and_values_do_not_fail(tmp_path: Path, name: str) -> None:
    """Stars, dots and markup are keys like any other; what is not finite is left out."""
    vectors = {"posterior_variance": np.array([np.nan, np.inf, 0.0, 1.0])}
    latent = LatentReport(Level.OK, {"kl": np.inf, "information": np.nan, "growth": 1.0}, vectors)
    report = Report(1, 0, Level.OK, {name: latent})
    (row,) = wandb_rows(records_of(tmp_path, lambda run: write_all(WandbWriter(run), [report])))
    assert row[f"collapse/{name}/growth"] == 1.0
    assert f"collapse/{name}/kl" not in row
    assert f"collapse/{name}/information" not in row
    assert sum(row[f"collapse/{name}/log10_posterior_variance"]["values"]) == 2


def test_a_finished_run_does_not_end_the_training(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """W&B's UsageError is told once, with its traceback, and stays inside."""
    run = start(tmp_path)
    run.finish()
    guard = GuardedWriter(WandbWriter(run))
    with caplog.at_level(logging.WARNING, "collapse_logging"):
        guard.open({})
        for report in reports:
            guard.write(report)
        guard.close()
    told = [record for record in caplog.records if record.name == "collapse_logging"]
    assert [record.exc_info is not None for record in told] == [True]
    assert "is finished" in caplog.text


def test_a_disabled_run_takes_everything(reports: list[Report]) -> None:
    """``mode="disabled"`` is W&B's way of switching off, and needs nothing of ours."""
    run = wandb.init(mode="disabled")
    write_all(WandbWriter(run), reports)
    run.finish()  # or the next WandbLogger in this process would take it over


def test_what_is_no_run_is_refused() -> None:
    """``wandb.run`` before ``init`` is None: the error says what to pass."""
    with pytest.raises(TypeError, match=r"run: expected .* got NoneType; write WandbWriter"):
        WandbWriter(None)
