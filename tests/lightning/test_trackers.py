"""What a fit leaves in TensorBoard, W&B, CSV and the ledger, read back from the files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collapse_logging import Level, PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter
from collapse_logging.writers.ledger import read_ledger

from .parts import NAMESPACES, loader, model, part, trainer
from .readers import csv_rows, events, text, wandb_records, wandb_rows


@pytest.fixture(scope="module", params=NAMESPACES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A collapsing run with three loggers at once."""
    import importlib

    pl = importlib.import_module(request.param)
    folder = tmp_path_factory.mktemp("run")
    loggers = part(pl, "loggers")
    board = loggers.TensorBoardLogger(folder, name="board")
    wandb = loggers.WandbLogger(save_dir=folder, project="vae", offline=True)
    table = loggers.CSVLogger(folder, name="table")
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False
    )
    fit = trainer(pl, folder, detector, logger=[wandb, board, table])
    fit.fit(model(pl, reduction="mean"), loader())
    file = Path(wandb.experiment.settings.sync_file)
    wandb.experiment.finish()
    return SimpleNamespace(
        folder=folder,
        board=Path(board.log_dir),
        events=events(Path(board.log_dir)),
        records=list(wandb_records(file)),
        table=csv_rows(Path(table.log_dir) / "metrics.csv"),
        reports=memory.reports,
        detector=detector,
    )


def collapse_scalars(report: Any) -> dict[str, float]:
    """The report's scalars as every tracker must have them."""
    return {tag: pytest.approx(value, rel=1e-5) for tag, value in report.scalars().items()}


def test_the_run_collapses(run: Any) -> None:
    """The run that the others read goes red, in six checks of ten steps."""
    assert [report.step for report in run.reports] == [9, 19, 29, 39, 49, 59]
    assert run.reports[-1].level is Level.RED
    assert run.detector.report == run.reports[-1]


def test_tensorboard_has_every_scalar_at_its_step(run: Any) -> None:
    """Each check's scalars are in the event file, at the check's step."""
    for report in run.reports:
        found = {
            tag: event.value
            for tag in run.events.Tags()["scalars"]
            for event in run.events.Scalars(tag)
            if tag.startswith("collapse/") and event.step == report.step
        }
        assert found == collapse_scalars(report)


def test_tensorboard_has_the_histograms(run: Any) -> None:
    """Histograms of both per-unit variances hold one count a unit."""
    for tag in ("collapse/z/log10_posterior_variance", "collapse/z/log10_mean_variance"):
        histograms = run.events.Histograms(tag)
        assert [h.step for h in histograms] == [r.step for r in run.reports]
        assert all(sum(h.histogram_value.bucket) == 4 for h in histograms)


def test_tensorboard_has_the_alerts_as_text(run: Any) -> None:
    """The newest text tells every alert of the run."""
    shown = text(run.events, "collapse/alerts")
    alerts = [alert for report in run.reports for alert in report.alerts]
    assert alerts
    for alert in alerts:
        (row,) = (line for line in shown.splitlines() if line.startswith(f"| {alert.step} |"))
        assert "z" in row.split("|")[2]
        assert alert.level.emoji in row.split("|")[3]
    assert "summed over pixels" in shown


def test_tensorboard_has_the_map_and_the_dashboard(run: Any) -> None:
    """The map goes on to the last check; the dashboard is a run of its own below the logger's."""
    assert run.events.Images("collapse/z/information_map")[-1].step == run.reports[-1].step
    layout = "custom_scalars__config__"
    assert layout not in run.events.Tags()["tensors"]
    assert layout in events(run.board / "collapse" / "dashboard").Tags()["tensors"]


def test_how_to_look_is_said_once(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """With the first alert, without any configuration: the logger's folder and the links."""
    import pytorch_lightning as pl

    board = part(pl, "loggers").TensorBoardLogger(tmp_path, name="board")
    detector = PosteriorCollapseDetector(latents="vae.encoder", check_frequency=10)
    trainer(pl, tmp_path, detector, logger=board).fit(model(pl, reduction="mean"), loader())
    assert log.text.count(f"tensorboard --logdir {board.log_dir}\n") == 1
    assert log.text.count("#timeseries") == log.text.count("#custom_scalars") == 1


def test_wandb_has_every_scalar_at_its_step(run: Any) -> None:
    """Each check is a row of its own, on the axis of Lightning's logger."""
    rows = [row for row in wandb_rows(run.records) if "collapse/level" in row]
    assert [row["trainer/global_step"] for row in rows] == [r.step for r in run.reports]
    for row, report in zip(rows, run.reports, strict=True):
        expected = collapse_scalars(report)
        assert {tag: row[tag] for tag in expected} == expected
        assert row["collapse/z/log10_posterior_variance"]["_type"] == "histogram"


def test_wandb_draws_us_over_lightnings_step(run: Any) -> None:
    """The x-axis of each of our scalars is the one that WandbLogger uses."""
    metrics = [record.metric for record in run.records if record.HasField("metric")]
    axes = {metric.name: metric.step_metric for metric in metrics}
    ours = run.reports[-1].scalars()
    assert {tag: axes.get(tag) for tag in ours} == dict.fromkeys(ours, "trainer/global_step")


def test_wandb_has_one_alert_a_change_of_level(run: Any) -> None:
    """Alert records carry title, level and text; red is an ERROR."""
    found = [record.alert for record in run.records if record.HasField("alert")]
    alerts = [alert for report in run.reports for alert in report.alerts]
    assert [alert.title for alert in found] == [alert.title for alert in alerts]
    assert found[-1].level == "ERROR"
    assert alerts[-1].text in found[-1].text


def test_wandb_has_verdict_and_thresholds(run: Any) -> None:
    """The summary says RED and the config the thresholds."""
    summary = {
        "/".join(item.nested_key) or item.key: item.value_json
        for record in run.records
        for item in record.summary.update
    }
    config = {
        item.key: json.loads(item.value_json)
        for record in run.records
        for item in record.config.update
    }
    assert summary["collapse/verdict"] == '"RED"'
    assert config["collapse"]["kl_threshold"] == 0.01


def test_wandb_loses_nothing_of_the_users(run: Any) -> None:
    """All of Lightning's own rows are there beside ours."""
    steps = [row["trainer/global_step"] for row in wandb_rows(run.records) if "train_loss" in row]
    assert steps == [9, 19, 29, 39, 49, 59]


def test_csv_has_every_scalar_at_its_step(run: Any) -> None:
    """The CSV logger gets the scalars through ``log_metrics``."""
    rows = {int(row["step"]): row for row in run.table if row["collapse/level"]}
    assert list(rows) == [r.step for r in run.reports]
    for report in run.reports:
        expected = collapse_scalars(report)
        assert {tag: float(rows[report.step][tag]) for tag in expected} == expected


def test_the_axis_is_lightnings_own(run: Any) -> None:
    """Our scalars lie at the steps of Lightning's own ``train_loss``, in TensorBoard and CSV."""
    own = [event.step for event in run.events.Scalars("train_loss")]
    assert [event.step for event in run.events.Scalars("collapse/level")] == own
    assert [int(row["step"]) for row in run.table if row["train_loss"]] == own


def test_the_ledger_lies_in_the_version_folder(run: Any) -> None:
    """``collapse/`` beside the event file holds thresholds and all reports."""
    assert run.board == run.folder / "board" / "version_0"
    lines = list(read_ledger(run.board / "collapse" / "collapse_ledger.jsonl"))
    assert lines[0]["type"] == "settings"
    assert [line["step"] for line in lines[1:]] == [r.step for r in run.reports]
    assert lines[-1]["level"] == "RED"
