"""How a ``with`` block ends: SIGTERM becomes an exit, and closing hides nobody's error."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_EXIT_CODE = 128 + signal.SIGTERM
_log = logging.getLogger("collapse_logging")


class Termination:
    """Turns the first SIGTERM into ``SystemExit(143)``, where nobody else handles it.

    By default a process that gets it ends at once and runs no Python: no ``with`` and no
    ``finally`` closes anything. A cluster sends it some seconds before it kills. A shell sees the
    same exit code either way. A second SIGTERM, and one in a forked child, do what they always do.
    """

    def __init__(self) -> None:
        self._process: int | None = None

    def listen(self) -> None:
        """From now on; not in a thread, which may set no handler, and not over the user's own."""
        default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if default and threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            signal.signal(signal.SIGTERM, self._leave)

    def stop(self) -> None:
        """No more, unless somebody else has set a handler since."""
        if self._process is not None and signal.getsignal(signal.SIGTERM) == self._leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._process = None

    def _leave(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != self._process:
            os.kill(os.getpid(), signal.SIGTERM)
        raise SystemExit(_EXIT_CODE)


def closed(close: Callable[[], None], error: object) -> None:
    """Close; behind the user's own exception, which passes as it is, a failure is only told."""
    try:
        close()
    except Exception:
        if error is None:
            raise
        _log.exception("the monitor could not be closed; the training's own error follows.")
