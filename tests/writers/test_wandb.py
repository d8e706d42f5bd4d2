"""Weights & Biases: the offline .wandb file read back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collapse_logging import Report
from collapse_logging.writers import WandbWriter
from tests.lightning.readers import wandb_records, wandb_rows

wandb = pytest.importorskip("wandb")


@pytest.fixture
def record(tmp_path: Path) -> Callable[[Callable[[Any], None]], list[Any]]:
    """Runs a function on an offline run and gives the run's records."""

    def run_and_read(use: Callable[[Any], None]) -> list[Any]:
        settings = wandb.Settings(silent=True, console="off")
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


def test_each_check_is_a_row_where_nobody_else_logs(record: Any, reports: list[Report]) -> None:
    """With own_rows=True every report's scalars are in a row with our step metric."""
    records = record(lambda run: write_all(WandbWriter(run, own_rows=True), reports))
    ours = [row for row in wandb_rows(records) if "collapse/step" in row]
    assert [row["collapse/step"] for row in ours] == [report.step for report in reports]
    for row, report in zip(ours, reports, strict=True):
        for tag, value in report.scalars().items():
            assert row[tag] == pytest.approx(value)
    assert any("log10_posterior_variance" in key for key in ours[0])


def test_one_alert_a_transition_with_its_level(record: Any, reports: list[Report]) -> None:
    """Yellow is INFO, orange WARN, red ERROR; each once, with step and advice."""
    records = record(lambda run: write_all(WandbWriter(run, own_rows=True), reports))
    alerts = [r.alert for r in records if r.HasField("alert")]
    assert [alert.level for alert in alerts] == ["INFO", "WARN", "ERROR"]
    assert all(len(alert.title) < 64 and "UTC" in alert.text for alert in alerts)
    assert "what to do: stop" in alerts[-1].text
    assert alerts[-1].wait_duration < 60


def test_verdict_and_thresholds_are_where_people_look(record: Any, reports: list[Report]) -> None:
    """The summary says RED and the last healthy step, the config has the thresholds."""

    def use(run: Any) -> None:
        write_all(WandbWriter(run), reports)
        assert run.summary["collapse/verdict"] == "RED"
        assert run.summary["collapse/last_healthy_step"] == reports[-1].last_healthy_step
        assert run.config["collapse"] == {"kl_threshold": 0.01}

    assert record(use)


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("style", ["step", "plain", "uncommitted", "rare epochs"])
def test_nothing_of_the_users_is_dropped(  # noqa: C901 - one branch a way of logging
    record: Any, reports: list[Report], style: str, ours_first: bool
) -> None:
    """However the user logs, before or after us, each of their values arrives at their step."""
    sent: list[float] = []

    def theirs(run: Any, index: int, step: int) -> None:
        if style == "rare epochs" and index % 4:
            return
        sent.append(float(index))
        if style == "step":
            run.log({"mine": float(index)}, step=step)
        elif style == "rare epochs":
            run.log({"mine": float(index)}, step=index // 4)
        elif style == "plain":
            run.log({"mine": float(index)})
        else:
            run.log({"mine": float(index)}, commit=False)
            run.log({"other": 1.0})

    def use(run: Any) -> None:
        writer = WandbWriter(run)
        writer.open({})
        for index, report in enumerate(reports):
            if not ours_first:
                theirs(run, index, report.step)
            writer.write(report)
            if ours_first:
                theirs(run, index, report.step)

    found = wandb_rows(record(use))
    assert [row["mine"] for row in found if "mine" in row] == sent
    kept = [row["collapse/step"] for row in found if "collapse/step" in row]
    if style != "rare epochs":
        assert kept == [report.step for report in reports]
    assert len(kept) >= len(sent) - 1


def test_replaced_rows_are_said_once(
    record: Any, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody commits the open row, the user is told how to have every check."""
    with caplog.at_level(logging.WARNING, "collapse_logging"):
        record(lambda run: write_all(WandbWriter(run), reports * 3))
    said = [m for m in caplog.messages if "own_rows=True" in m]
    assert len(said) == 1


def test_under_lightning_each_check_is_a_row_on_its_axis(
    record: Any, reports: list[Report]
) -> None:
    """The rows carry trainer/global_step and are committed."""
    writer = lambda run: WandbWriter(run, step_metric="trainer/global_step")  # noqa: E731
    found = wandb_rows(record(lambda run: write_all(writer(run), reports)))
    steps = [row["trainer/global_step"] for row in found if "collapse/level" in row]
    assert steps == [report.step for report in reports]
