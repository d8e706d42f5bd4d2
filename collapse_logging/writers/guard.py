"""A writer that fails never hurts the training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..report import Report
from .base import Writer

_MOST_FAILURES = 6
_log = logging.getLogger("collapse_logging")


class GuardedWriter(Writer):
    """Logs the first failure with its traceback, pauses ever longer, gives up after six.

    The ledger is a writer too, so what another writer missed is there.

    Args:
        writer: the writer to guard.
        strict: raise instead, for tests and CI.
    """

    def __init__(self, writer: Writer, strict: bool = False) -> None:
        self.writer = writer
        self._strict = strict
        self._failures = 0
        self._pause = 0

    def open(self, settings: Mapping[str, Any]) -> None:
        """As the writer does."""
        self._attempt(lambda: self.writer.open(settings))

    def write(self, report: Report) -> None:
        """As the writer does, unless it is paused."""
        if self._failures >= _MOST_FAILURES:
            return
        if self._pause > 0:
            self._pause -= 1
            return
        before = self._failures
        if self._attempt(lambda: self.writer.write(report)) and before:
            self._failures = 0
            _log.warning("%s works again, at step %d.", self._name, report.step)

    def close(self) -> None:
        """As the writer does."""
        self._attempt(self.writer.close)

    @property
    def _name(self) -> str:
        return type(self.writer).__name__

    def _attempt(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception:
            if self._strict:
                raise
            self._failures += 1
            self._pause = 2 ** (self._failures - 1)
            if self._failures == 1:
                _log.exception(
                    "%s failed; training goes on and the writer is tried again in a few checks. "
                    "Look at the error below (disk full? folder gone? network down?).",
                    self._name,
                )
            elif self._failures == _MOST_FAILURES:
                _log.error("%s failed %d times and is dropped.", self._name, _MOST_FAILURES)
            return False
        return True
