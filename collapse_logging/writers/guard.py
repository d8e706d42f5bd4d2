"""A writer that fails never hurts the training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..report import Alert, Report
from .background import BackgroundWriter
from .base import Writer

_LONGEST_PAUSE = 512
"""Checks; a service that is away for an hour is found again soon after."""

_MANY = 6
"""Failures in a row after which it is said again."""

_MOST_MISSED = 1000
_log = logging.getLogger("collapse_logging")


class GuardedWriter(Writer):
    """Logs the first failure with its traceback, then tries again ever more rarely.

    After the n-th failure in a row it lets 2^(n-1) checks pass, at most 512. Scalars of those
    checks are missing in that writer; their alerts are handed over when it works again, or when
    it is closed. An alert may then come twice, if the writer failed after having taken it: better
    twice than never.

    Args:
        writer: the writer to guard.
        strict: raise instead, for tests and CI.
    """

    def __init__(self, writer: Writer, strict: bool = False) -> None:
        self.writer = writer
        self._strict = strict
        self._settings: Mapping[str, Any] | None = None
        self._missed: tuple[Alert, ...] = ()
        self._latest: Report | None = None
        self._failures = 0
        self._pause = 0
        self._told = False

    def open(self, settings: Mapping[str, Any]) -> None:
        """Opened with the first report, so that an opening that fails is tried again too."""
        self._settings = settings

    def write(self, report: Report) -> None:
        """As the writer does, unless it is paused."""
        alerts = (self._missed + report.alerts)[-_MOST_MISSED:]
        self._latest = report
        if self._pause > 0:
            self._pause -= 1
            self._missed = alerts
            return
        whole = dataclasses.replace(report, alerts=alerts) if self._missed else report
        if not self._attempt(lambda: self._deliver(whole), f"at step {report.step}"):
            self._missed = alerts
            self._failed()
            return
        self._missed = ()
        if self._failures:
            self._failures = 0
            _log.warning("%s works again, at step %d.", self._name, report.step)

    def resume(self, step: int) -> None:
        """As the writer does."""
        self._attempt(lambda: self.writer.resume(step), "when the run was resumed")

    def flush(self) -> None:
        """As the writer does, unless it is failing."""
        if not self._failures:
            self._attempt(self.writer.flush, "when it was flushed")

    def close(self) -> None:
        """As the writer does, after a last try to hand over the alerts that it missed."""
        if self._missed and self._latest is not None:
            last = dataclasses.replace(self._latest, alerts=self._missed)
            if self._attempt(lambda: self._deliver(last), "at the end"):
                self._missed = ()
        self._attempt(self.writer.close, "when it was closed")

    @property
    def _name(self) -> str:
        writer = self.writer
        return type(writer.writer if isinstance(writer, BackgroundWriter) else writer).__name__

    def _deliver(self, report: Report) -> None:
        if self._settings is not None:
            self.writer.open(self._settings)
            self._settings = None
        self.writer.write(report)

    def _failed(self) -> None:
        self._failures += 1
        self._pause = min(2 ** min(self._failures - 1, 30), _LONGEST_PAUSE)
        if self._failures == _MANY:
            _log.error(
                "%s failed %d times in a row; it is still tried now and then, and its alerts are "
                "kept for it. The other writers go on.",
                self._name,
                _MANY,
            )

    def _attempt(self, call: Callable[[], None], when: str) -> bool:
        try:
            call()
        except Exception as error:
            if self._strict:
                raise
            self._tell(error, when)
            return False
        return True

    def _tell(self, error: Exception, when: str) -> None:
        """The first failure with its traceback, later ones in one line, retries not at all."""
        if not self._told:
            self._told = True
            _log.error(
                "%s failed %s; training goes on and the writer is tried again, ever more rarely. "
                "Look at the error below (disk full? folder gone? run finished? network down?).",
                self._name,
                when,
                exc_info=error,
            )
        elif self._failures == 0:
            _log.warning("%s failed again %s: %r.", self._name, when, error)
