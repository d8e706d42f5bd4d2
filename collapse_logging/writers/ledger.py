"""The lossless record: one JSON line a report, beside the run."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import IO, Any

from ..files import without_links
from ..report import Report
from .base import Writer

LEDGER_NAME = "collapse_ledger.jsonl"

_log = logging.getLogger("collapse_logging")


class LedgerWriter(Writer):
    """Appends reports to ``collapse_ledger.jsonl``; alerts are on the disk when it returns.

    The first line of each session holds the thresholds in force. The file is opened when the
    first report comes, so a run without a check leaves nothing behind.

    Args:
        log_dir: the folder, made if it is not there.
    """

    in_background = True

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.path = Path(log_dir) / LEDGER_NAME
        self._settings: dict[str, Any] = {}
        self._file: IO[str] | None = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings for the first line; JSON has no infinity, so a limit of it is null."""
        endless = {key for key, v in settings.items() if isinstance(v, float) and not isfinite(v)}
        self._settings = {key: None if key in endless else v for key, v in settings.items()}

    def write(self, report: Report) -> None:
        """One line, flushed; with an alert, forced to the disk."""
        if self._file is not None and not self.path.exists():
            self.close()  # removed under us: what is written to an open handle would be lost
        try:
            file = self._file or self._start()
            file.write(_line({"type": "report", **report.to_dict()}))
            file.flush()
            if report.alerts:
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # the next start takes half a line out
                self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _start(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _put_half_line_aside(self.path)
        # a lone surrogate in a latent's name becomes \udc80, which is what JSON calls it too
        self._file = open(  # noqa: SIM115 - held until it is closed
            self.path, "a", encoding="utf-8", errors="backslashreplace", opener=without_links
        )
        _warn_of_another(self._file)
        self._file.write(_line({"type": "settings", **self._settings}))
        return self._file


def read_ledger(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The lines of a ledger as dictionaries.

    A last line cut off by a kill is left out, in silence; a damaged one with a warning.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                _log.warning("%s, line %d is damaged and left out: %s", path, number, error)


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _warn_of_another(file: IO[str]) -> None:
    """A second writer would begin again in the midst of the first one's steps."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _log.warning(
            "another run is writing to this %s; give each its own log_dir, or their checks are "
            "mixed.",
            LEDGER_NAME,
        )
    except OSError:  # a file system without locks
        return


def _put_half_line_aside(path: Path) -> None:
    """Move what a killed session left after the last newline; ours would be glued to it."""
    if not path.exists():
        return
    with open(path, "r+b", opener=without_links) as file:
        end = size = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                start += newline + 1
                break
            end = start
        else:
            start = 0
        if start == size:
            return
        file.seek(start)
        _log.warning("%s ended in half a line, which is put into %s.bad.", path.name, path.name)
        with contextlib.suppress(OSError), open(f"{path}.bad", "ab", opener=without_links) as aside:
            aside.write(file.read() + b"\n")
        file.truncate(start)
