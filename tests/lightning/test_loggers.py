"""Loggers beside TensorBoard and W&B: what each is given, and that it is told what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collapse_logging import Level, PosteriorCollapseDetector
from collapse_logging.trainer import logger_writers
from collapse_logging.writers import LoggerWriter, MemoryWriter

from .parts import loader, model, part, trainer


def minimal(pl: Any, **parts: Any) -> Any:
    """The least that Lightning takes for a logger; it remembers what it is given."""

    class Minimal(part(pl, "loggers").Logger):
        name = "minimal"
        version = 0

        def __init__(self) -> None:
            super().__init__()
            self.got: list[tuple[int | None, dict[str, float]]] = []

        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            """Nothing."""

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            """Keep them; a copy as Comet's logger takes it."""
            self.got.append((step, metrics.copy()))

    return type("Minimal", (Minimal,), parts)()


def fit(pl: Any, folder: Path, logger: Any) -> MemoryWriter:
    """A run that collapses, with these loggers."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False
    )
    trainer(pl, folder, detector, logger=logger).fit(model(pl, reduction="mean"), loader())
    assert memory.reports[-1].level is Level.RED
    return memory


@pytest.mark.parametrize("experiment", ["none", "comet", "unknown"])
def test_any_logger_gets_the_scalars_and_is_told_once(
    pl: Any, tmp_path: Path, log: pytest.LogCaptureFixture, experiment: str
) -> None:
    """With or without an experiment: floats at Lightning's steps, and one word on the rest."""
    comet = SimpleNamespace(log_metrics=None, log_histogram_3d=None, log_text=None)
    parts = {"none": {}, "comet": {"experiment": comet}, "unknown": {"experiment": object()}}
    logger = minimal(pl, **parts[experiment])
    reports = fit(pl, tmp_path, logger).reports
    ours = [(step, values) for step, values in logger.got if "collapse/level" in values]
    assert ours == [(report.step, report.scalars()) for report in reports]
    assert all(type(value) is float for _, values in ours for value in values.values())
    told = [message for message in log.messages if "the scalars only" in message]
    assert len(told) == 1
    assert told[0].startswith("Minimal ")
    assert "ledger" in told[0]


def test_an_experiment_that_is_no_tracker_of_ours_gets_the_scalars(pl: Any) -> None:
    """Nothing is taken for MLflow or Trackio by one method's name alone."""
    lookalikes = [SimpleNamespace(log_batch=None), SimpleNamespace(alert=None), None, object()]
    loggers = [minimal(pl, experiment=experiment) for experiment in lookalikes]
    assert {type(writer) for writer in logger_writers(loggers, "collapse")} == {LoggerWriter}


def test_lightnings_mlflow_logger_gets_everything(
    pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """Scalars at Lightning's steps, alerts and histograms as files, the verdict as a tag."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    uri = (tmp_path / "mlruns").as_uri()
    logger = part(pl, "loggers").MLFlowLogger("vae", tracking_uri=uri)
    reports = fit(pl, tmp_path, logger).reports
    client = mlflow.MlflowClient(uri)
    run = client.get_run(logger.run_id)
    assert run.data.tags["collapse.verdict"] == "RED"
    steps = {m.step for m in client.get_metric_history(logger.run_id, "collapse/z/information")}
    assert steps == {report.step for report in reports}
    assert steps == {m.step for m in client.get_metric_history(logger.run_id, "train_loss")}
    folder = Path(run.info.artifact_uri.removeprefix("file://")) / "collapse"
    alerting = [report for report in reports if report.alerts]
    texts = sorted(path.name for path in (folder / "alerts").glob("*.txt"))
    assert texts == [f"step_{report.step:09d}.txt" for report in alerting]
    counts = json.loads((folder / f"histograms/step_{reports[0].step:09d}.json").read_text())
    assert sum(counts["collapse/z/log10_mean_variance"]["counts"]) == 4
    assert "the scalars only" not in log.text


def test_a_logger_around_a_trackio_run_gets_histograms_and_alerts(
    pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning has no Trackio logger; one of the user's is recognised by its experiment."""
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    run = trackio.init(project=f"lightning-{pl.__name__}", **quiet)
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(run, "alert", lambda **alert: sent.append((alert["title"], alert["level"])))
    try:
        reports = fit(pl, tmp_path, minimal(pl, experiment=run)).reports
    finally:
        trackio.finish()
    alerts = [alert.title for report in reports for alert in report.alerts]
    assert [title for title, _ in sent] == alerts
    assert sent[-1][1] == "error"
