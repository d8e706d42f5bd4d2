"""Keeps reports in memory, for tests and notebooks."""

from __future__ import annotations

from ..report import Alert, Report
from .base import Writer


class MemoryWriter(Writer):
    """Keeps every report.

    Attributes:
        reports: all reports, oldest first.
    """

    def __init__(self) -> None:
        self.reports: list[Report] = []

    @property
    def alerts(self) -> list[Alert]:
        """All alerts, oldest first."""
        return [alert for report in self.reports for alert in report.alerts]

    def write(self, report: Report) -> None:
        """Keep it."""
        self.reports.append(report)
