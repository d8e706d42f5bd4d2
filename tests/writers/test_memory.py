"""The writer of tests and notebooks."""

from __future__ import annotations

from collapse_logging import Level, Report
from collapse_logging.writers import MemoryWriter


def test_reports_and_alerts_are_kept_in_order(reports: list[Report]) -> None:
    """Every report is the very object that was written, and the alerts are theirs in turn."""
    memory = MemoryWriter()
    for report in reports:
        memory.write(report)
    assert memory.reports == reports
    assert all(a is b for a, b in zip(memory.reports, reports, strict=True))
    assert [alert.level for alert in memory.alerts] == [Level.YELLOW, Level.ORANGE, Level.RED]


def test_it_starts_empty_and_stays_readable_after_close() -> None:
    """No report before the first, and closing forgets nothing."""
    memory = MemoryWriter()
    assert (memory.reports, memory.alerts) == ([], [])
    memory.write(Report(1, 0, Level.OK, {}))
    memory.close()
    assert len(memory.reports) == 1
