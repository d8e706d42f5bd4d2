"""MLflow: a run in a folder, read back through its client and from its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collapse_logging import Alert, Level, Report
from collapse_logging.report import LatentReport, alert_to_dict
from collapse_logging.writers import MlflowWriter
from collapse_logging.writers.base import histograms

mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder holds the runs; nothing is sent to MLflow's makers."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())  # Lightning's logger leaves its own
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture
def client() -> Any:
    """For the folder of this test."""
    return mlflow.MlflowClient()


@pytest.fixture
def run_id(client: Any) -> str:
    """A run that the user started."""
    return client.create_run(client.create_experiment("vae")).info.run_id


def write_all(writer: MlflowWriter, reports: list[Report]) -> None:
    """Open, write every report, close."""
    writer.open({"kl_threshold": 0.01})
    for report in reports:
        writer.write(report)
    writer.close()


def files(client: Any, run_id: str) -> dict[str, str]:
    """The texts of the run's files by their path."""
    folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_every_scalar_is_there_at_its_step(client: Any, run_id: str, reports: list[Report]) -> None:
    """Once close() returns, each scalar has all its steps and values."""
    write_all(MlflowWriter(run_id), reports)
    for tag in reports[-1].scalars():
        history = {metric.step: metric.value for metric in client.get_metric_history(run_id, tag)}
        values = {report.step: report.scalars().get(tag) for report in reports}
        assert history == pytest.approx({s: v for s, v in values.items() if v is not None})


def test_alerts_are_files_for_people_and_for_programs(
    client: Any, run_id: str, reports: list[Report]
) -> None:
    """Each check with alerts has its texts and the same as JSON, at its step."""
    write_all(MlflowWriter(run_id), reports)
    found = {name: text for name, text in files(client, run_id).items() if "/alerts/" in name}
    alerting = [report for report in reports if report.alerts]
    assert len(alerting) == 3
    assert len(found) == 6
    for report in alerting:
        name = f"collapse/alerts/step_{report.step:09d}"
        assert found[f"{name}.txt"] == "\n\n".join(alert.text for alert in report.alerts)
        expected = [alert_to_dict(alert) for alert in report.alerts]
        assert json.loads(found[f"{name}.json"]) == expected


def test_histograms_are_files(client: Any, run_id: str, reports: list[Report]) -> None:
    """Counts and edges of both variances; of the first ten checks and of those with alerts."""
    write_all(MlflowWriter(run_id), reports)
    found = {name: text for name, text in files(client, run_id).items() if "histograms" in name}
    due = [report for report in reports if report.check < 10 or report.alerts]
    assert sorted(found) == [f"collapse/histograms/step_{r.step:09d}.json" for r in due]
    last = json.loads(found[f"collapse/histograms/step_{due[-1].step:09d}.json"])
    for tag, (counts, edges) in histograms(due[-1]).items():
        assert last[tag]["counts"] == counts.tolist()
        assert last[tag]["edges"] == pytest.approx(edges)


def test_verdict_and_thresholds(client: Any, run_id: str, reports: list[Report]) -> None:
    """The tags say RED and the last healthy step, a file the thresholds."""
    write_all(MlflowWriter(run_id), reports)
    tags = client.get_run(run_id).data.tags
    assert tags["collapse.verdict"] == "RED"
    assert tags["collapse.last_healthy_step"] == str(reports[-1].last_healthy_step)
    settings = json.loads(files(client, run_id)["collapse/settings.json"])
    assert settings == {"kl_threshold": 0.01}


def test_a_resumed_run_goes_on(client: Any, run_id: str, reports: list[Report]) -> None:
    """Other thresholds and later steps are taken; the files of the first part stay."""
    write_all(MlflowWriter(run_id), reports[:9])
    before = files(client, run_id)
    second = MlflowWriter(run_id)
    second.open({"kl_threshold": 0.5})
    second.write(reports[-1])
    second.close()
    after = files(client, run_id)
    assert json.loads(after.pop("collapse/settings.json")) == {"kl_threshold": 0.5}
    assert before.items() - {("collapse/settings.json", before["collapse/settings.json"])} <= (
        after.items()
    )


def test_the_active_run_is_taken_and_stays_open(client: Any, reports: list[Report]) -> None:
    """Without an id it is the run that the user is in; it is theirs to end."""
    with mlflow.start_run() as run:
        write_all(MlflowWriter(), reports[:1])
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
    assert "collapse/level" in client.get_run(run.info.run_id).data.metrics


def test_no_run_is_an_error_that_says_what_to_do() -> None:
    """Nothing is started behind the user's back."""
    with pytest.raises(ValueError, match=r"run_id: expected .*start_run"):
        MlflowWriter()


@pytest.mark.parametrize("name", ["z*", "a:b", "../../out", ".", "`|<img>\n", "z" * 400, "ä"])
def test_odd_names_are_taken(client: Any, run_id: str, tmp_path: Path, name: str) -> None:
    """MLflow refuses most signs and paths; a metric is there all the same, within the folder."""
    latent = LatentReport(Level.OK, {"kl": 1.5, "information": float("nan")}, {})
    alert = Alert(7, name, Level.OK, Level.RED)
    outside = {path for path in tmp_path.parent.iterdir() if path != tmp_path}
    write_all(MlflowWriter(run_id), [Report(7, 0, Level.RED, {name: latent}, (alert,))])
    assert {path for path in tmp_path.parent.iterdir() if path != tmp_path} == outside
    metrics = client.get_run(run_id).data.metrics
    assert metrics["collapse/level"] == 3.0
    assert all(re.fullmatch(r"collapse/[\w/. -]+", key, re.ASCII) for key in metrics)
    assert "\n" not in files(client, run_id)["collapse/alerts/step_000000007.txt"].splitlines()[0]


def test_a_run_that_is_gone_is_told_at_the_end(client: Any, reports: list[Report]) -> None:
    """Scalars go in the background: what could not be sent is raised by close()."""
    writer = MlflowWriter("0" * 32)
    writer.write(Report(1, 99, Level.OK, {}))
    with pytest.raises(mlflow.exceptions.MlflowException, match="not found"):
        writer.close()
    writer.close()
