"""Killed, terminated, interrupted, failed: what was told is on the disk, and the error is theirs.

``COLLAPSE_KILLS=200`` kills that many processes instead of a dozen.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger
from tests.lightning.readers import events, text

pytest.importorskip("tensorboard")

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("COLLAPSE_KILLS", "12"))


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from torch.utils.tensorboard import SummaryWriter
from collapse_logging.writers import LedgerWriter, TensorBoardWriter
from tests.writers.conftest import drive

for number in range(int(sys.argv[2])):
    left = 1 + number % 3
    folder = Path(sys.argv[1], str(number))

    def told(alert):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        drive([TensorBoardWriter(folder), LedgerWriter(folder)], responses=[told])
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""


def test_a_kill_right_after_an_alert_loses_none(tmp_path: Path) -> None:
    """SIGKILL the moment the first, second or third alert is told, again and again.

    Each time the alert is in the ledger and in TensorBoard's table, and every line is whole.
    """
    done = run(KILLED, tmp_path, KILLS)
    assert done.returncode == 0, done.stderr
    for number in range(KILLS):
        expected = ["YELLOW", "ORANGE", "RED"][: 1 + number % 3]
        lines = list(read_ledger(tmp_path / str(number) / LEDGER_NAME))
        assert [a["level"] for line in lines[1:] for a in line["alerts"]] == expected
        assert lines[-1]["alerts"]
        table = text(events(tmp_path / str(number)), "collapse/alerts")
        assert [f"{level} |" in table for level in expected] == [True] * len(expected)


ENDED = """
import os, signal, sys, threading, time
from pathlib import Path
from collapse_logging import CollapseMonitor
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.ledger import LEDGER_NAME
from tests.parts import gaussian

folder, how = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
if how == "terminated, theirs":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

with CollapseMonitor([TensorBoardWriter(folder)], check_frequency=5) as monitor:
    for step in range(1, 18):
        monitor.observe("z", *gaussian((16, 4), step))
        monitor.step()
    if how == "error":
        raise RuntimeError("theirs")
    if how == "exit":
        sys.exit(3)
    while (folder / LEDGER_NAME).read_text().count("\\n") < 4:  # written in the background
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT if how == "interrupted" else signal.SIGTERM)
    threading.Event().wait(60)
"""


@pytest.mark.parametrize(
    ("how", "code", "checks"),
    [
        ("error", 1, [5, 10, 15, 17]),
        ("exit", 3, [5, 10, 15, 17]),
        ("interrupted", -signal.SIGINT, [5, 10, 15, 17]),
        ("terminated, theirs", 143, [5, 10, 15, 17]),
        ("terminated", 143, [5, 10, 15, 17]),
    ],
)
def test_an_end_closes_what_is_open_and_is_as_it_was(
    tmp_path: Path, how: str, code: int, checks: list[int]
) -> None:
    """An error, an exit, Ctrl-C or SIGTERM: the exit code and the traceback are the program's own.

    The open window is checked and the writers are closed, also where nobody handles SIGTERM.
    """
    done = run(ENDED, tmp_path, how)
    assert done.returncode == code, done.stderr
    last = (done.stderr.splitlines() or [""])[-1]
    assert last == {"error": "RuntimeError: theirs", "interrupted": "KeyboardInterrupt"}.get(
        how, ""
    )
    assert "During handling" not in done.stderr
    lines = list(read_ledger(tmp_path / LEDGER_NAME))
    assert [line["step"] for line in lines[1:]] == checks
    assert (tmp_path / LEDGER_NAME).read_text().endswith("\n")
    assert [e.step for e in events(tmp_path).Scalars("collapse/level")] == checks
    assert (tmp_path / "final_statistics.txt").exists()
