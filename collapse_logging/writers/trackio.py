"""Trackio: scalars, histograms and alerts into a run that is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..arguments import require_count
from ..report import Report
from .about import about
from .base import Writer, histograms, histograms_due
from .limit import AlertLimit, Message


class TrackioWriter(Writer):
    """Logs to a Trackio run at our steps, and leaves the user's own count of steps alone.

    Trackio keeps rows of a step apart, so nothing of the user's is lost. Its alerts may go on to
    Slack or Discord, so they pass an :class:`~collapse_logging.writers.limit.AlertLimit`.
    ``trackio.init`` and ``finish`` are never called. Trackio itself never raises: it warns.

    Args:
        run: what ``trackio.init()`` returned.
        histogram_every: checks from one histogram to the next, after the first ten.
        prefix: first part of every key.

    Raises:
        TypeError: not a run.
    """

    def __init__(self, run: Any, histogram_every: int = 10, prefix: str = "collapse") -> None:
        if not (hasattr(run, "log_system") and hasattr(run, "alert")):
            raise TypeError(
                f"run: expected what trackio.init() returned, got {type(run).__name__}; "
                "write TrackioWriter(trackio.init(project=...))."
            )
        require_count("histogram_every", histogram_every, at_least=1)
        self._run = run
        self._every = histogram_every
        self._prefix = prefix
        self._settings: Mapping[str, Any] | None = None
        self._limit = AlertLimit(self._alert)

    def open(self, settings: Mapping[str, Any]) -> None:
        """Keep the thresholds for the first row; the run's config may have been sent already."""
        self._settings = settings

    def write(self, report: Report) -> None:
        """One row, and an alert a change of level, within limits."""
        import trackio

        values: dict[str, Any] = dict(report.scalars(self._prefix))
        if self._settings is not None:
            values[f"{self._prefix}/about"] = trackio.Markdown(about(self._settings))
        if histograms_due(report, self._every):
            for tag, (counts, edges) in histograms(report, self._prefix).items():
                values[tag] = trackio.Histogram(np_histogram=(counts, edges))
        self._log(values, report.step)
        self._settings = None
        self._limit.send(report.alerts)

    def close(self) -> None:
        """Send the alerts that still wait for their minute."""
        self._limit.send(now=True)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        """Trackio goes on counting from the largest step; a user who counts epochs would jump."""
        following = getattr(self._run, "_next_step", None)
        self._run.log(values, step=step)
        if following is not None:
            self._run._next_step = following

    def _alert(self, message: Message) -> None:
        import trackio

        self._run.alert(
            title=message.title,
            text=message.text,
            level=trackio.AlertLevel[message.severity],
            step=message.step,
        )
