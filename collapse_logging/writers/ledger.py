"""The lossless record: one JSON line a report, beside the run."""

from __future__ import annotations

import json
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

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.path = Path(log_dir) / LEDGER_NAME
        self._settings: dict[str, Any] = {}
        self._file: IO[str] | None = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings for the first line."""
        self._settings = dict(settings)

    def write(self, report: Report) -> None:
        """One line, flushed; with an alert, forced to the disk."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
            self._line({"type": "settings", **self._settings})
        self._line({"type": "report", **report.to_dict()})
        self._file.flush()
        if report.alerts:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, values: Mapping[str, Any]) -> None:
        assert self._file is not None
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._file.write(text + "\n")


def read_ledger(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The lines of a ledger as dictionaries; a last line cut off by a kill is left out."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
