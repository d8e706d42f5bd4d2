"""A slow writer never holds the training up."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..report import Report
from .base import Writer

_MOST_WAITING = 256
_PATIENCE = 5.0
"""Seconds that saving a checkpoint may wait for a writer."""


class BackgroundWriter(Writer):
    """Lets a writer work in a thread of its own; training waits for it only with an alert.

    What fails there is raised by the next call, and the one after it is waited for, too. Where
    the writer cannot keep up, the oldest of more than 256 waiting reports are left out; none of
    these has an alert.

    Args:
        writer: a writer that is ``in_background``.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._waiting: deque[Report] = deque(maxlen=_MOST_WAITING)
        self._thread: ThreadPoolExecutor | None = None
        self._turn: Future[None] | None = None
        self._failure: Exception | None = None
        self._failed_at: Report | None = None
        self._failed = False  # then the next write is waited for: has it recovered?
        self._one_at_a_time = threading.Lock()

    def open(self, settings: Mapping[str, Any]) -> None:
        """As the writer does, at once."""
        self.writer.open(settings)

    def write(self, report: Report) -> None:
        """Hand the report over; with an alert, wait until it and all before it are written."""
        self._raise_failure()
        self._waiting.append(report)
        self._take_turn()
        if report.alerts or self._failed:
            self._wait_for(report)
            self._failed = False

    def resume(self, step: int) -> None:
        """As the writer does, at once."""
        self.writer.resume(step)

    def flush(self) -> None:
        """As the writer does, behind what waits; a writer that hangs is not waited for long."""
        if self._thread is None:
            self.writer.flush()
            return
        with contextlib.suppress(futures.TimeoutError):
            self._thread.submit(self.writer.flush).result(_PATIENCE)

    def close(self) -> None:
        """Write what waits, let the thread go, and close as the writer does."""
        thread, self._thread, self._turn = self._thread, None, None
        if thread is not None:
            thread.shutdown()
        while self._waiting:  # behind a failure
            self._write_waiting()
        self.writer.close()
        self._raise_failure()

    def _wait_for(self, report: Report) -> None:
        """Until it was tried; an earlier one's failure, raised now, would pass for its own."""
        while self._turn is not None:
            self._turn.result()
            if not any(waiting is report for waiting in self._waiting):
                break
            self._take_turn()
        if self._failed_at is report:
            self._raise_failure()

    def _take_turn(self) -> None:
        if self._turn is not None and not (self._turn.running() or self._turn.done()):
            return  # it is to come, and will find the report
        try:
            self._thread = self._thread or ThreadPoolExecutor(1, "collapse-logging")
            self._turn = self._thread.submit(self._write_waiting)
        except RuntimeError:  # the interpreter ends and starts no thread any more
            self._write_waiting()

    def _write_waiting(self) -> None:
        """After a failure the rest waits for the next turn."""
        with self._one_at_a_time:
            try:
                while self._waiting:
                    report = self._waiting.popleft()
                    self.writer.write(report)
            except Exception as error:
                self._failure, self._failed_at = error, report

    def _raise_failure(self) -> None:
        failure, self._failure, self._failed_at = self._failure, None, None
        if failure is not None:
            self._failed = True
            raise failure
