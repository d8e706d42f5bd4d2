"""A writer that fails hurts neither the training nor the other writers."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from collapse_logging import Alert, Level, Report
from collapse_logging.writers import LedgerWriter, TensorBoardWriter, Writer
from collapse_logging.writers.guard import GuardedWriter
from collapse_logging.writers.ledger import read_ledger
from tests.lightning.readers import events, text

from .conftest import drive

# TensorBoard's own thread dies of a folder that vanishes, as it would without us
thread_dies = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Flaky(Writer):
    """Raises while it is told to."""

    def __init__(self, broken: bool = True) -> None:
        self.broken = broken
        self.opened: list[Mapping[str, Any]] = []
        self.tried: list[int] = []
        self.alerts: list[int] = []

    def open(self, settings: Mapping[str, Any]) -> None:
        """Fails too."""
        self._fail()
        self.opened.append(settings)

    def write(self, report: Report) -> None:
        """Note the call, then fail."""
        self.tried.append(report.step)
        self._fail()
        self.alerts += [alert.step for alert in report.alerts]

    def close(self) -> None:
        """Fails too."""
        self._fail()

    def _fail(self) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")


def empty(step: int) -> Report:
    """A report with an alert and nothing else."""
    return Report(step, step, Level.OK, {}, (Alert(step, "z", Level.OK, Level.YELLOW),))


def test_the_first_failure_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """One message, with the traceback, what goes on and where to look."""
    guard = GuardedWriter(Flaky())
    for step in range(5):
        guard.write(empty(step))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    for expected in ("Flaky failed", "at step 0", "training goes on", "disk full", "No space left"):
        assert expected in caplog.text


def test_tries_come_ever_more_rarely_and_never_end(caplog: pytest.LogCaptureFixture) -> None:
    """One, two, four ... at most 512 checks pass between tries; that it goes on is told once."""
    flaky = Flaky()
    guard = GuardedWriter(flaky)
    for step in range(3000):
        guard.write(empty(step))
    gaps = np.diff(flaky.tried) - 1
    assert gaps.tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512, 512]
    assert [r.exc_info is not None for r in caplog.records] == [True, False]
    assert "failed 6 times in a row; it is still tried" in caplog.messages[-1]


def test_an_outage_of_thousands_of_checks_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """A service that is back after an hour gets the newest thousand alerts it missed, and goes on.

    The ledger has them all; memory must not grow with the outage.
    """
    flaky = Flaky()
    guard = GuardedWriter(flaky)
    for step in range(5000):
        flaky.broken = step < 4000
        guard.write(empty(step))
    assert flaky.alerts == list(range(flaky.alerts[0], 5000))
    assert flaky.tried[-1] == 4999
    back = next(step for step in flaky.tried if step >= 4000)
    assert flaky.alerts[0] == back - 999
    assert caplog.messages[-1] == f"Flaky works again, at step {back}."


@pytest.mark.parametrize("broken", [False, True])
def test_what_was_missed_is_handed_over_at_the_end(broken: bool) -> None:
    """A run that ends within a pause: a last try, then the writer is closed whatever it says."""
    flaky = Flaky()
    guard = GuardedWriter(flaky)
    for step in range(4):  # tried at 0 and 2
        guard.write(empty(step))
    flaky.broken = broken
    guard.close()
    guard.close()
    assert flaky.tried[:3] == [0, 2, 3]
    assert flaky.alerts == ([] if broken else [0, 1, 2, 3])


def test_a_writer_that_works_again_gets_the_alerts_it_missed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its return is told, each alert arrives once, and it gets every report again."""
    flaky = Flaky(broken=False)
    guard = GuardedWriter(flaky)
    for step in range(8):
        flaky.broken = step == 2
        guard.write(empty(step))
    assert flaky.tried == [0, 1, 2, 4, 5, 6, 7]
    assert flaky.alerts == list(range(8))
    assert caplog.messages[-1] == "Flaky works again, at step 4."


def test_a_second_failure_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A writer that comes and goes does not fill the terminal with tracebacks."""
    flaky = Flaky(broken=False)
    guard = GuardedWriter(flaky)
    for step in range(20):
        flaky.broken = step in (2, 10)
        guard.write(empty(step))
    assert sum(r.exc_info is not None for r in caplog.records) == 1
    assert sum("failed again at step 10" in message for message in caplog.messages) == 1


def test_an_opening_that_fails_is_tried_again() -> None:
    """The writer never gets a report before it has its settings."""
    flaky = Flaky()
    guard = GuardedWriter(flaky)
    guard.open({"kl_threshold": 0.01})
    guard.write(empty(0))
    flaky.broken = False
    for step in range(1, 4):
        guard.write(empty(step))
    assert flaky.opened == [{"kl_threshold": 0.01}]
    assert flaky.tried == [2, 3]


def test_a_close_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Closing never raises into the training."""
    GuardedWriter(Flaky()).close()
    assert "Flaky failed when it was closed" in caplog.text


def test_strict_raises() -> None:
    """Tests and CI see the failure itself, when opening, writing and closing."""
    guard = GuardedWriter(Flaky(), strict=True)
    for call in (lambda: guard.write(empty(0)), guard.close):
        with pytest.raises(OSError, match="No space"):
            call()


def put_in_the_way(folder: Path) -> None:
    """Put a file in a folder's place; a thread may just be writing in it, and make it anew."""
    end = time.monotonic() + 10.0
    while not folder.is_file() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(IsADirectoryError):
            folder.write_text("in the way")
    assert folder.is_file()


@thread_dies
def test_a_log_folder_that_vanishes_for_good(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """TensorBoard's OSError is told once and stays inside; the ledger has every report."""
    board = tmp_path / "board"

    class Vandal(Writer):
        """Puts a file in the folder's place, before the first alert."""

        def write(self, report: Report) -> None:
            if report.step == reports[3].step:
                put_in_the_way(board)

    drive([Vandal(), TensorBoardWriter(board), LedgerWriter(tmp_path / "ledger")], strict=False)
    told = [r for r in caplog.records if "TensorBoardWriter failed" in r.getMessage()]
    assert [r.exc_info is not None for r in told] == [True]
    assert board.is_file()
    lines = list(read_ledger(tmp_path / "ledger" / "collapse_ledger.jsonl"))
    assert [line["step"] for line in lines[1:]] == [r.step for r in reports]


@thread_dies
def test_a_log_folder_that_comes_back(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """A new event file goes on, with every alert of the run in its table."""
    board = tmp_path / "board"
    guard = GuardedWriter(TensorBoardWriter(board))
    first = next(i for i, report in enumerate(reports) if report.alerts)
    shutil.rmtree(board)
    board.write_text("in the way")
    for index, report in enumerate(reports):
        if index == first + 1:
            board.unlink()
        guard.write(report)
    guard.close()
    assert "TensorBoardWriter works again" in caplog.text
    shown = text(events(board), "collapse/alerts")
    for alert in (alert for report in reports for alert in report.alerts):
        assert f"| {alert.step} |" in shown


def test_a_writer_that_the_user_closes_goes_on(tmp_path: Path, reports: list[Report]) -> None:
    """Torch opens a closed SummaryWriter again: every check is there, and nothing raises."""
    theirs = SummaryWriter(str(tmp_path))
    guard = GuardedWriter(TensorBoardWriter(theirs), strict=True)
    for report in reports:
        guard.write(report)
        if report is reports[2]:
            theirs.close()
    guard.close()
    theirs.close()
    steps = [event.step for event in events(tmp_path).Scalars("collapse/level")]
    assert steps == [report.step for report in reports]
