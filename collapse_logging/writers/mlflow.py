"""MLflow: scalars and verdict in one call a check, alerts and histograms as artifacts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from ..arguments import checked_name, require_count
from ..report import Report, alert_to_dict
from .base import Writer, histograms, histograms_due, shown

_LONGEST_KEY = 250


class MlflowWriter(Writer):
    """Logs to an MLflow run that is there; it is never started or ended.

    MLflow has no alerts and no histograms, so those are files of the run: for each check with
    alerts ``collapse/alerts/step_000000100.txt`` and ``.json``, for histograms
    ``collapse/histograms/step_000000100.json``, and ``collapse/settings.json`` with the
    thresholds. The run's tags ``collapse.verdict`` and ``collapse.last_healthy_step`` can be
    searched for. Scalars are sent by MLflow's own background thread, which logs what fails;
    :meth:`close` waits for it. Files are sent in the training thread, and therefore rarely.

    Args:
        run_id: the run; None: the active one, ``mlflow.active_run()``.
        client: an ``MlflowClient``; None: one for the current tracking URI.
        histogram_every: checks from one histogram file to the next, after the first ten.
        prefix: first part of every key, and folder of the files.

    Raises:
        ModuleNotFoundError: ``mlflow`` is not installed.
        ValueError: no run is given and none is active.
    """

    def __init__(
        self,
        run_id: str | None = None,
        client: Any = None,
        histogram_every: int = 100,
        prefix: str = "collapse",
    ) -> None:
        require_count("histogram_every", histogram_every, at_least=1)
        checked_name("prefix", prefix)
        self._client = client or _mlflow().MlflowClient()
        self._run_id = run_id or _active_run()
        self._every = histogram_every
        self._prefix = prefix
        self._operation: Any = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """A file with the thresholds: parameters could not be changed when a run is resumed."""
        self._file(dict(settings), "settings")

    def write(self, report: Report) -> None:
        """The scalars and tags in one call; files for histograms that are due, and for alerts."""
        from mlflow.entities import Metric, RunTag

        now = int(1000 * time.time())
        metrics = [
            Metric(_key(tag), value, now, report.step)
            for tag, value in report.scalars(self._prefix).items()
        ]
        tags = [RunTag(f"{self._prefix}.verdict", report.level.name)]
        if report.last_healthy_step is not None:
            healthy = str(report.last_healthy_step)
            tags.append(RunTag(f"{self._prefix}.last_healthy_step", healthy))
        self._operation = self._client.log_batch(
            self._run_id, metrics=metrics, tags=tags, synchronous=False
        )
        if histograms_due(report, self._every):
            self._write_histograms(report)
        if report.alerts:
            self._write_alerts(report)

    def close(self) -> None:
        """Wait for the last scalars.

        Raises:
            mlflow.exceptions.MlflowException: they could not be sent.
        """
        operation, self._operation = self._operation, None
        if operation is not None:
            operation.wait()

    def _write_histograms(self, report: Report) -> None:
        found = {
            tag: {"counts": counts.tolist(), "edges": edges.tolist()}
            for tag, (counts, edges) in histograms(report, self._prefix).items()
        }
        if found:
            self._file(found, f"histograms/step_{report.step:09d}")

    def _write_alerts(self, report: Report) -> None:
        name = f"alerts/step_{report.step:09d}"
        texts = [shown(alert).text for alert in report.alerts]
        self._client.log_text(self._run_id, "\n\n".join(texts), f"{self._prefix}/{name}.txt")
        self._file([alert_to_dict(alert) for alert in report.alerts], name)

    def _file(self, content: Any, name: str) -> None:
        self._client.log_dict(self._run_id, content, f"{self._prefix}/{name}.json")


def _key(tag: str) -> str:
    """A name that MLflow takes: no other signs than these, and no way out of a folder."""
    parts = re.sub(r"[^\w/. -]", "_", tag, flags=re.ASCII).split("/")
    return "/".join("_" if part.strip(". ") == "" else part for part in parts)[:_LONGEST_KEY]


def _active_run() -> str:
    run = _mlflow().active_run()
    if run is None:
        raise ValueError(
            "run_id: expected the id of a run, got None while no run is active; write "
            "MlflowWriter(run_id) or use it within 'with mlflow.start_run():'."
        )
    return str(run.info.run_id)


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise ModuleNotFoundError(
            "MlflowWriter needs the package mlflow, which is not installed; "
            "pip install 'collapse-logging[mlflow]'."
        ) from error
    return mlflow
