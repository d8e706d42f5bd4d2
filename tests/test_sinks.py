"""Where reports go may break in any way: training ends as it would have, the ledger has it all."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collapse_logging import Alert, CollapseMonitor, Level, Report
from collapse_logging.report import LatentReport
from collapse_logging.writers import LedgerWriter, MemoryWriter, TensorBoardWriter, Writer
from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger
from collapse_logging.writers.limit import AlertLimit, Message
from tests.lightning.readers import events, text

from .parts import VAE, gaussian, recorded, train
from .writers.conftest import drive
from .writers.conftest import reports as reports

record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")

# TensorBoard's own thread dies of an error, as it would without us
thread_dies = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@thread_dies
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EDQUOT])
def test_a_disk_that_is_full_for_a_while(
    tmp_path: Path,
    reports: list[Report],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """The event file fails at some checks: told once, and all alerts are there later."""
    write = record_writer.RecordWriter.write
    now: list[int] = []

    def fails(self: Any, data: bytes) -> Any:
        if len(now) in (3, 4, 5, 6):
            raise OSError(number, "no")
        return write(self, data)

    class Count(Writer):
        def write(self, report: Report) -> None:
            now.append(report.step)

    monkeypatch.setattr(record_writer.RecordWriter, "write", fails)
    board = TensorBoardWriter(tmp_path)
    flushing = board._writer.flush  # so that the thread's error is there at the next check

    class Flush(Writer):
        def write(self, report: Report) -> None:
            if board._writer is not None:
                flushing()

    drive([Count(), board, LedgerWriter(tmp_path), Flush()], strict=False)
    told = [r for r in caplog.records if "TensorBoardWriter failed" in r.getMessage()]
    assert [r.exc_info is not None for r in told] == [True]
    assert "TensorBoardWriter works again" in caplog.text
    lines = list(read_ledger(tmp_path / LEDGER_NAME))[1:]
    assert [line["step"] for line in lines] == [report.step for report in reports]
    table = text(events(tmp_path), "collapse/alerts")
    for alert in (alert for report in reports for alert in report.alerts):
        assert f"| {alert.step} |" in table


class Broken(Writer):
    """Raises whenever it is called."""

    def open(self, settings: Any) -> None:
        """Raise."""
        raise ConnectionResetError("the service is gone")

    def write(self, report: Report) -> None:
        """Raise."""
        raise RuntimeError("no")

    def close(self) -> None:
        """Raise."""
        raise OSError(errno.ENOSPC, "No space left on device")


def refuse(alert: Alert) -> None:
    """A response that raises."""
    raise ValueError("no")


def test_training_ends_as_it_would_have(tmp_path: Path) -> None:
    """With every writer and every response failing, each parameter is the same to the bit."""
    trained = []
    for how in ("alone", "broken"):
        torch.manual_seed(0)
        model = VAE()
        if how == "alone":
            train(model, None, 30)
        else:
            (tmp_path / LEDGER_NAME).mkdir()  # where the ledger should be
            with CollapseMonitor(
                [Broken(), Broken()], [refuse], "fast", check_frequency=1, log_dir=tmp_path
            ) as monitor:
                train(model, monitor, 30, observe=True)
            assert monitor.report is not None
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*trained)


def test_a_run_folder_that_is_removed_is_made_again(tmp_path: Path, reports: list[Report]) -> None:
    """Somebody deletes the folder in the midst of a run: what comes after it is on the disk."""
    folder = tmp_path / "run"

    class Remove(Writer):
        def write(self, report: Report) -> None:
            if report.step == reports[3].step:
                folder.rename(tmp_path / "removed")  # at once: the ledger may just be writing in it

    memory = MemoryWriter()
    drive([LedgerWriter(folder), Remove(), memory])
    lines = list(read_ledger(folder / LEDGER_NAME))
    steps = [report.step for report in reports]
    # the check of the removal may have been written before it or, in the background, after it
    assert [line["step"] for line in lines[1:]] in (steps[3:], steps[4:])
    assert sum(len(line["alerts"]) for line in lines[1:]) == 3
    assert len(memory.reports) == len(reports)


@pytest.mark.parametrize("jump", [-1e9, -3600.0, 3600.0, 1e9])
def test_a_clock_that_jumps_does_not_matter(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """What waits for its minute does not come at once when somebody sets the date."""
    sent: list[Message] = []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    limit = AlertLimit(sent.append)
    limit.send([Alert(1, "z", Level.OK, Level.YELLOW)])
    monkeypatch.setattr(time, "time", lambda: now)
    limit.send([Alert(2, "z", Level.YELLOW, Level.OK)])
    assert len(sent) == 1
    limit.send(now=True)
    assert len(sent) == 2


def test_ten_thousand_latents_do_not_drown_a_tracker(tmp_path: Path) -> None:
    """Trackers get the first two hundred and are told of alerts of all; the ledger has all."""
    latent = LatentReport(
        Level.OK, {"kl": 1.0}, {"mean_variance": np.ones(2), "information": np.ones(2)}
    )
    alert = Alert(1, "latent 9999", Level.OK, Level.RED)
    latents = {f"latent {n}": latent for n in range(10_000)}
    for writer in (TensorBoardWriter(tmp_path), LedgerWriter(tmp_path)):
        writer.write(Report(1, 0, Level.RED, latents, (alert,)))
        writer.close()
    found = events(tmp_path)
    assert len(found.Tags()["scalars"]) == 1 + 2 * 200
    assert len(found.Tags()["histograms"]) == 200
    assert "9999" in text(found, "collapse/alerts")
    (line,) = list(read_ledger(tmp_path / LEDGER_NAME))[1:]
    assert len(line["latents"]) == 10_000


def test_more_latents_than_are_shown_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the first check that has so many."""
    monitor, memory = recorded(check_frequency=1, strict=True)
    for count in (200, 201, 201):
        for latent in range(count):
            monitor.observe(f"z{latent}", *gaussian((4, 2)))
        monitor.step()
    assert [len(report.latents) for report in memory.reports] == [200, 201, 201]
    assert len([m for m in caplog.messages if "201 latents: trackers are given" in m]) == 1
