"""Two files for people, beside the ledger: the detection log, and the statistics at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..files import without_links, write_whole
from ..messages import verdict
from ..report import Level, Report, alert_to_dict
from .base import Writer, shown, sign
from .final_statistics import Tally, final_statistics
from .ledger import LEDGER_NAME, read_ledger
from .log import one_line

STATISTICS_NAME = "final_statistics.txt"


class DetectionLogWriter(Writer):
    """Writes ``collapse_detection_<time>.log``, and ``final_statistics.txt`` when it is closed.

    Each session has a log of its own, begun with its first report. Beside checks and alerts it has
    what ``verbose=False`` keeps from the terminal. The statistics go on over a resume, as far as
    the ledger beside them knows the earlier sessions.

    Args:
        log_dir: the folder, made if it is not there.
    """

    in_background = True

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.folder = Path(log_dir)
        self.path: Path | None = None
        self._settings: Mapping[str, Any] = {}
        self._tally = Tally()
        self._last: Report | None = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """Keep the thresholds and the language."""
        self._settings = settings

    def write(self, report: Report) -> None:
        """A line for the check, and each alert in full."""
        lines = [("INFO", one_line(report, self._language))]
        for alert in report.alerts:
            severity = "ERROR" if alert.level is Level.RED else "WARNING"
            lines.append((severity, f"{sign(alert)} {shown(alert).text}"))
        self._append(lines)
        self._tally.add(map(alert_to_dict, report.alerts))
        self._last = report

    def resume(self, step: int) -> None:
        """Count the alerts of the sessions before, up to this step."""
        ledger = self.folder / LEDGER_NAME
        if not ledger.exists():
            return
        self._tally = Tally()
        for line in read_ledger(ledger):
            if line["type"] == "report" and line["step"] <= step:
                self._tally.add(line["alerts"])

    def close(self) -> None:
        """The verdict, and the statistics, whole."""
        report, self._last = self._last, None
        if report is None or self.path is None:
            return
        self._append([("INFO", verdict(report, self._language))])
        text = final_statistics(report, self._tally, self._settings, self.path)
        write_whole(self.folder / STATISTICS_NAME, text.encode(errors="backslashreplace"))

    @property
    def _language(self) -> str:
        return str(self._settings.get("language", "en"))

    def _append(self, lines: Iterable[tuple[str, str]]) -> None:
        """Opened each time: a log that was moved or removed meanwhile is begun again."""
        now = datetime.now()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.path is None:
            self.path = self.folder / f"collapse_detection_{now:%Y%m%d_%H%M%S}.log"
        time = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d}"
        with open(
            self.path, "a", encoding="utf-8", errors="backslashreplace", opener=without_links
        ) as file:
            file.writelines(f"{time} - {severity} - {text}\n" for severity, text in lines)
