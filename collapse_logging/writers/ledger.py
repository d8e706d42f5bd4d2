"""The lossless record: one JSON line a report, beside the run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ..report import Report
from .base import Writer

LEDGER_NAME = "collapse_ledger.jsonl"


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
        """Keep the settings for the first line."""
        self._settings = dict(settings)

    def write(self, report: Report) -> None:
        """One line, flushed; with an alert, forced to the disk."""
        if self._file is not None and not self.path.exists():
            self.close()  # removed under us: what is written to an open handle would be lost
        file = self._file or self._start()
        file.write(_line({"type": "report", **report.to_dict()}))
        file.flush()
        if report.alerts:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _start(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_off_half_line(self.path)
        # a lone surrogate in a latent's name becomes \udc80, which is what JSON calls it too
        self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace")
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
                logging.getLogger("collapse_logging").warning(
                    "%s, line %d is damaged and left out: %s", path, number, error
                )


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _cut_off_half_line(path: Path) -> None:
    """Remove what a killed session left after the last newline; ours would be glued to it."""
    if not path.exists():
        return
    with path.open("r+b") as file:
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
        if start < size:
            file.truncate(start)
