"""Weights & Biases: scalars, histograms and alerts into a run that is handed in."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..arguments import require_count
from ..report import Alert, Report
from .base import Writer, histograms, histograms_due
from .limit import AlertLimit, Message

_PATIENCE = 10
"""Checks without a row of the user's before we say that only the newest of them is kept."""

_log = logging.getLogger("collapse_logging")


class WandbWriter(Writer):
    """Logs to a W&B run, and never costs the user a row.

    W&B has one open row, and drops whatever is logged with a ``step=`` below it. Whoever closes a
    row takes a step that the user may be about to log with ``step=epoch``. So our values join
    the row that is open and leave its closing to the user's own ``run.log``; they have
    ``<prefix>/step``, the training step, as their x-axis.

    What that costs is ours: where the user logs more rarely than we check, each of the user's
    rows shows the newest check before it. The newest is always in the run's summary, and the
    alerts are sent. If nobody else logs, one row is all; give ``own_rows=True`` then. To have
    every check, and after a kill too (an offline run's file is written in blocks of 32 KiB), give
    the monitor a ``log_dir`` for its ledger. ``wandb.init`` and ``finish`` are never called.

    Alerts go through an :class:`~collapse_logging.writers.limit.AlertLimit`: W&B answers too many
    with 429, and the run's whole upload waits behind its retries. How many were sent is kept in
    the run's summary, so that a job that is resumed again and again does not start anew.

    Args:
        run: what ``wandb.init()`` returned, or Lightning's ``WandbLogger.experiment``.
        step_metric: None for a plain run; ``"trainer/global_step"`` under Lightning, whose own
            logger closes each row, so we do too.
        histogram_every: checks from one histogram to the next, after the first ten.
        prefix: first part of every key.
        own_rows: close a row at each check, so that all are shown; only for runs to which nobody
            logs with ``step=``.

    Raises:
        TypeError: not a run.
    """

    def __init__(
        self,
        run: Any,
        step_metric: str | None = None,
        histogram_every: int = 10,
        prefix: str = "collapse",
        own_rows: bool = False,
    ) -> None:
        if not (hasattr(run, "define_metric") and hasattr(run, "alert")):
            raise TypeError(
                f"run: expected what wandb.init() returned, got {type(run).__name__}; "
                "write WandbWriter(wandb.init(project=...))."
            )
        require_count("histogram_every", histogram_every, at_least=1)
        self._run = run
        self._step_metric = step_metric or f"{prefix}/step"
        self._hide_step = step_metric is None
        # a run that several processes share has no steps, and no row that could be dropped
        shared = getattr(getattr(run, "settings", None), "mode", None) == "shared"
        self._commit = own_rows or step_metric is not None or shared
        self._every = histogram_every
        self._prefix = prefix
        self._defined: set[str] = set()
        self._limit = AlertLimit(self._alert)
        self._checks = self._first_row = 0

    def open(self, settings: Mapping[str, Any]) -> None:
        """Put the thresholds into the run's config; of a resumed run, see what it has had."""
        if self._hide_step:
            self._run.define_metric(self._step_metric, hidden=True)
        summary = self._run.summary
        self._limit.sent = int(summary.get(f"{self._prefix}/messages") or 0)
        self._limit.over = bool(summary.get(f"{self._prefix}/messages_over"))
        self._run.config.update({self._prefix: dict(settings)}, allow_val_change=True)

    def write(self, report: Report) -> None:
        """The values, the verdict in the summary, alerts within their limits."""
        scalars = report.scalars(self._prefix)
        values: dict[str, Any] = dict(scalars)
        if histograms_due(report, self._every):
            import wandb

            for tag, (counts, edges) in histograms(report, self._prefix).items():
                values[tag] = wandb.Histogram(np_histogram=(counts, edges))
        self._define(values)
        self._run.log({**values, self._step_metric: report.step}, commit=self._commit)
        self._summarise(report, {} if self._commit else scalars)
        self._send(report.alerts)
        if not self._commit:
            self._look_for_rows()

    def close(self) -> None:
        """Send the alerts that still wait for their minute; the run is the user's to finish."""
        self._send(now=True)

    def _send(self, alerts: Sequence[Alert] = (), now: bool = False) -> None:
        before = self._limit.sent, self._limit.over
        self._limit.send(alerts, now)
        if (self._limit.sent, self._limit.over) != before:
            told = {"messages": self._limit.sent, "messages_over": self._limit.over}
            self._run.summary.update({f"{self._prefix}/{name}": v for name, v in told.items()})

    def _define(self, values: Mapping[str, Any]) -> None:
        """Give each key our x-axis by its full name: a user's ``define_metric("*")`` beats a glob.

        W&B takes a star for a glob and refuses it elsewhere; such a key keeps W&B's x-axis.
        """
        for tag in values.keys() - self._defined:
            self._defined.add(tag)
            if "*" not in tag:
                self._run.define_metric(tag, step_metric=self._step_metric)

    def _summarise(self, report: Report, scalars: Mapping[str, float]) -> None:
        values: dict[str, Any] = {**scalars, f"{self._prefix}/verdict": report.level.name}
        if report.last_healthy_step is not None:
            values[f"{self._prefix}/last_healthy_step"] = report.last_healthy_step
        self._run.summary.update(values)

    def _look_for_rows(self) -> None:
        """Say once, when the charts would stay empty, what would fill them."""
        self._checks += 1
        if self._checks == 1:
            self._first_row = self._run.step
        elif self._checks == _PATIENCE and self._run.step == self._first_row:
            _log.warning(
                "W&B has had no new row in %d checks, so its charts show the newest check only, "
                "once the next row is there. If nobody logs to this run with step=, write "
                "WandbWriter(run, own_rows=True).",
                _PATIENCE,
            )

    def _alert(self, message: Message) -> None:
        self._run.alert(
            title=message.title,
            text=message.text,
            level=message.severity,
            wait_duration=timedelta(milliseconds=1),  # 0 would mean a minute; we never repeat
        )
