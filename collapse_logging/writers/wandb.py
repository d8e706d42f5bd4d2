"""Weights & Biases: scalars, histograms and alerts into a run that is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ..report import Alert, Level, Report
from .base import Writer, histograms, histograms_due

_STEP = "collapse/step"
_LEVELS = {Level.OK: "INFO", Level.YELLOW: "INFO", Level.ORANGE: "WARN", Level.RED: "ERROR"}


class WandbWriter(Writer):
    """Logs to a W&B run without ever committing a row of the user's.

    It calls neither ``wandb.init`` nor ``finish``. The values have a step metric of their own,
    so the user's ``log(step=i)`` loses nothing whether it comes before or after ours.

    Args:
        run: what ``wandb.init()`` returned, or Lightning's ``WandbLogger.experiment``.
        step_metric: None for a plain run; ``"trainer/global_step"`` under Lightning, where each
            row is committed as Lightning's own logger does.
        histogram_every: checks from one histogram to the next, after the first ten.
        prefix: first part of every key.
    """

    def __init__(
        self,
        run: Any,
        step_metric: str | None = None,
        histogram_every: int = 100,
        prefix: str = "collapse",
    ) -> None:
        self._run = run
        self._step_metric = step_metric
        self._every = histogram_every
        self._prefix = prefix
        self._open_row: int | None = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """Define the step metric and put the thresholds into the run's config."""
        if self._step_metric is None:
            self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric(f"{self._prefix}/*", step_metric=self._step_metric or _STEP)
        self._run.config.update({self._prefix: dict(settings)}, allow_val_change=True)

    def write(self, report: Report) -> None:
        """One row, the verdict in the summary, one W&B alert a change of level."""
        values: dict[str, Any] = dict(report.scalars(self._prefix))
        if histograms_due(report, self._every):
            import wandb

            for tag, (counts, edges) in histograms(report, self._prefix).items():
                values[tag] = wandb.Histogram(np_histogram=(counts, edges))
        self._log(values, report.step)
        self._run.summary[f"{self._prefix}/verdict"] = report.level.name
        if report.last_healthy_step is not None:
            self._run.summary[f"{self._prefix}/last_healthy_step"] = report.last_healthy_step
        for alert in report.alerts:
            self._alert(alert)

    def _log(self, values: dict[str, Any], step: int) -> None:
        if self._step_metric is not None:
            self._run.log({**values, self._step_metric: step})
            return
        if self._open_row == self._run.step:  # our last row is still open: nobody else logs
            self._run.log({}, commit=True)
        self._run.log({**values, _STEP: step}, commit=False)
        self._open_row = self._run.step

    def _alert(self, alert: Alert) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        self._run.alert(
            title=alert.title,
            text=f"{alert.text}\n{now}",
            level=_LEVELS[alert.level],
            wait_duration=timedelta(milliseconds=1),  # 0 would mean a minute; we never repeat
        )
