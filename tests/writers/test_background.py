"""Writers in a thread of their own: training waits for an alert, and for nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from collapse_logging import Alert, CollapseMonitor, Level, Report
from collapse_logging.writers import LedgerWriter, MemoryWriter, TensorBoardWriter, Writer
from collapse_logging.writers.background import BackgroundWriter
from collapse_logging.writers.guard import GuardedWriter
from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger
from tests.lightning.readers import events

from .conftest import drive


class Stuck(Writer):
    """A slow disk: waits in each write until it is let go."""

    in_background = True

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.written: list[int] = []
        self.threads: set[int] = set()
        self.closed = 0

    def write(self, report: Report) -> None:
        self.started.set()
        assert self.go.wait(60)
        self.threads.add(threading.get_ident())
        self.written.append(report.step)

    def close(self) -> None:
        self.closed += 1


class Broken(MemoryWriter):
    """Fails at the steps that it is told to."""

    def __init__(self, *steps: int) -> None:
        super().__init__()
        self.steps = steps

    def write(self, report: Report) -> None:
        if report.step in self.steps:
            raise OSError(28, "No space left on device")
        super().write(report)


def plain(step: int) -> Report:
    """A report without alerts."""
    return Report(step, step, Level.OK, {})


def test_training_goes_on_while_a_record_is_written() -> None:
    """Writes return although the first of them is not through; close waits for all, in order."""
    stuck = Stuck()
    writer = BackgroundWriter(stuck)
    for step in range(20):
        writer.write(plain(step))
    assert stuck.started.wait(60)
    assert stuck.written == []
    stuck.go.set()
    writer.close()
    assert stuck.written == list(range(20))
    assert stuck.threads.isdisjoint({threading.get_ident()})
    assert stuck.closed == 1


def test_an_alert_is_waited_for(reports: list[Report]) -> None:
    """When the write of an alert returns, it and everything before it is written."""
    red = next(report for report in reports if report.alerts)
    stuck = Stuck()
    writer = BackgroundWriter(stuck)
    writer.write(plain(0))
    assert stuck.started.wait(60)
    threading.Timer(0.05, stuck.go.set).start()
    writer.write(red)
    assert stuck.written == [0, red.step]
    writer.close()


def test_a_disk_that_hangs_costs_the_oldest_scalars_and_no_memory() -> None:
    """Of a thousand reports those that wait are the newest 256; one was being written."""
    stuck = Stuck()
    writer = BackgroundWriter(stuck)
    writer.write(plain(0))
    assert stuck.started.wait(60)
    for step in range(1, 1001):
        writer.write(plain(step))
    stuck.go.set()
    writer.close()
    assert stuck.written == [0, *range(745, 1001)]


def test_a_failure_is_raised_by_the_next_call(reports: list[Report]) -> None:
    """By the next write, by the alert's own, or by close; what waits behind it is not lost."""
    red = next(report for report in reports if report.alerts)
    broken = Broken(1, red.step, 3)
    writer = BackgroundWriter(broken)
    writer.write(plain(1))
    while not writer._failure:
        time.sleep(0.001)
    with pytest.raises(OSError, match="No space"):
        writer.write(plain(0))
    with pytest.raises(OSError, match="No space"):
        writer.write(red)
    for step in (2, 3, 4):
        writer.write(plain(step))
    with pytest.raises(OSError, match="No space"):
        writer.close()
    writer.close()
    assert [report.step for report in broken.reports] == [2, 4]


def test_the_guard_speaks_of_the_writer_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Not of the thread that it works in."""
    guard = GuardedWriter(BackgroundWriter(Broken(0)))
    guard.write(plain(0))
    guard.close()
    assert "Broken failed" in caplog.text
    assert "Background" not in caplog.text


def test_a_writer_that_goes_on_failing_is_not_said_to_work_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether it recovered is known when the write that tries it returns."""
    guard = GuardedWriter(BackgroundWriter(Broken(*range(100))))
    for step in range(100):
        guard.write(plain(step))
        time.sleep(0.001)
    guard.close()
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    assert "works again" not in caplog.text


def test_a_closed_writer_can_be_written_to_again(tmp_path: Path, reports: list[Report]) -> None:
    """As a ledger can: a new thread is started and let go."""
    before = threading.active_count()
    writer = BackgroundWriter(LedgerWriter(tmp_path))
    for report in reports[:2]:
        writer.write(report)
        writer.close()
        writer.close()
    kinds = [line["type"] for line in read_ledger(tmp_path / LEDGER_NAME)]
    assert kinds == ["settings", "report"] * 2
    assert threading.active_count() == before


UNCLOSED = """
import sys
from collapse_logging import Level, Report
from collapse_logging.writers import LedgerWriter
from collapse_logging.writers.background import BackgroundWriter

writer = BackgroundWriter(LedgerWriter(sys.argv[1]))
for step in range(50):
    writer.write(Report(step, step, Level.OK, {}))
"""


def test_a_program_that_never_closes_loses_nothing(tmp_path: Path) -> None:
    """The interpreter ends when all that was handed over is written."""
    subprocess.run([sys.executable, "-c", UNCLOSED, tmp_path], check=True, timeout=100)
    lines = list(read_ledger(tmp_path / LEDGER_NAME))
    assert [line["step"] for line in lines[1:]] == list(range(50))


@pytest.mark.parametrize("own", [True, False], ids=["a folder", "a SummaryWriter"])
def test_a_slow_file_system_does_not_hold_the_training_up(tmp_path: Path, own: bool) -> None:
    """Nine checks are over before a single record of theirs is written, in event file or ledger.

    A queue of ten is torch's own: a check with its histograms and pictures is one record of it.
    """
    fast = threading.Event()
    fast.set()

    def slow(kind: type) -> Any:
        write = kind.write  # type: ignore[attr-defined]

        def waiting(*arguments: object) -> None:
            assert fast.wait(60)
            write(*arguments)

        return patch.object(kind, "write", waiting)

    target = tmp_path if own else SummaryWriter(str(tmp_path))
    board, memory = TensorBoardWriter(target), MemoryWriter()
    monitor = CollapseMonitor([board, memory], check_frequency=1, verbose=False, strict=True)
    with slow(RecordWriter), slow(LedgerWriter):
        for step in range(10):
            monitor.observe("z", 2.0 * torch.randn(64, 6), torch.full((64, 6), -3.0))
            monitor.step()
            if step == 0:
                fast.clear()  # after the dashboard, which is written once
        fast.set()
        monitor.close()
    if not own:
        target.close()
    assert [len(report.alerts) for report in memory.reports] == [0] * 10
    assert [e.step for e in events(tmp_path).Scalars("collapse/level")] == list(range(1, 11))
    lines = list(read_ledger(tmp_path / LEDGER_NAME))
    assert [line["step"] for line in lines[1:]] == list(range(1, 11))


def test_who_writes_where(tmp_path: Path, reports: list[Report]) -> None:
    """A ledger and an event file of our own have threads; the user's objects stay in theirs."""
    seen: dict[str, int] = {}

    class Here(MemoryWriter):
        def write(self, report: Report) -> None:
            seen["here"] = threading.get_ident()

    class There(Here):
        in_background = True

        def write(self, report: Report) -> None:
            seen["there"] = threading.get_ident()

    drive([Here(), There()], checks=1)
    assert seen["here"] == threading.get_ident() != seen["there"]
    theirs = SummaryWriter(str(tmp_path))
    assert TensorBoardWriter(tmp_path).in_background
    assert not TensorBoardWriter(theirs).in_background
    assert LedgerWriter(tmp_path).in_background
    theirs.close()


class Flushed(Stuck):
    """Notes what was written when it was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[list[int]] = []

    def flush(self) -> None:
        """Note it."""
        self.flushed.append(list(self.written))


def test_a_checkpoint_has_what_came_before_it_on_the_disk(reports: list[Report]) -> None:
    """Flushing comes behind the reports that wait; without a thread it is done at once."""
    inner = Flushed()
    writer = BackgroundWriter(inner)
    writer.flush()
    for report in reports[:3]:
        writer.write(report)
    inner.go.set()
    writer.flush()
    assert inner.flushed == [[], [report.step for report in reports[:3]]]
    writer.close()


def test_a_disk_that_hangs_holds_no_checkpoint_up(reports: list[Report]) -> None:
    """After a while the training saves its checkpoint all the same."""
    inner = Flushed()
    writer = BackgroundWriter(inner)
    writer.write(reports[0])
    assert inner.started.wait(10)
    with patch("collapse_logging.writers.background._PATIENCE", 0.05):
        writer.flush()
    assert inner.flushed == []
    inner.go.set()
    writer.close()
    assert inner.flushed == [[reports[0].step]]


@pytest.mark.parametrize("own", [True, False])
def test_a_resumed_run_replaces_its_own_curves_only(
    tmp_path: Path, reports: list[Report], own: bool
) -> None:
    """In a folder of our own what was written after the resumed step is void; in the user's
    SummaryWriter nothing is, for its curves are not ours.
    """
    steps = [report.step for report in reports]
    first = TensorBoardWriter(tmp_path)
    for report in reports:
        first.write(report)
    first.close()
    (earlier,) = tmp_path.glob("events*")  # files of one second are read in any order
    earlier.rename(tmp_path / "events.out.tfevents.0000000001.earlier")
    again = TensorBoardWriter(tmp_path if own else SummaryWriter(tmp_path))
    guarded = GuardedWriter(BackgroundWriter(again), strict=True)
    guarded.resume(steps[1])
    guarded.write(reports[-1])
    guarded.flush()
    again.close()
    shown = [event.step for event in events(tmp_path).Scalars("collapse/level")]
    assert shown == ([*steps[:2], steps[-1]] if own else [*steps, steps[-1]])
    guarded.close()


@pytest.mark.parametrize("between", [(), (3,)], ids=["next", "behind another"])
def test_an_alert_that_waited_behind_a_failure_comes_once(between: tuple[int, ...]) -> None:
    """A slow disk fails at the report before the alert's: the alert is written, and not again."""

    class SlowAndBroken(Broken):
        go = threading.Event()

        def write(self, report: Report) -> None:
            assert self.go.wait(60)
            super().write(report)

    disk = SlowAndBroken(2)
    guard = GuardedWriter(BackgroundWriter(disk))
    for step in (1, 2, *between):
        guard.write(plain(step))
    threading.Timer(0.05, disk.go.set).start()
    alert = Alert(4, "z", Level.OK, Level.YELLOW)
    guard.write(Report(4, 4, Level.YELLOW, {}, (alert,)))
    assert disk.alerts == [alert]  # on the disk before training goes on
    for step in range(5, 12):
        guard.write(plain(step))
    guard.close()
    assert disk.alerts == [alert]
    assert [report.step for report in disk.reports[: 2 + len(between)]] == [1, *between, 4]
