"""Other processes and the end of this one: forks write nothing and never wait, exits are quiet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger
from tests.lightning.readers import events

ROOT = Path(__file__).parents[1]

START = """
import atexit, os, signal, sys
from pathlib import Path
import torch
from torch.utils.tensorboard import SummaryWriter
from collapse_logging import CollapseMonitor, Rules
from collapse_logging.responses import KeepLastHealthy
from collapse_logging.writers import TensorBoardWriter
from tests.parts import gaussian

folder = Path(sys.argv[1])

def monitor(**options):
    return CollapseMonitor([TensorBoardWriter(folder)], rules=Rules(check_frequency=1), **options)

def steps(monitor, count, shape=(16, 4)):
    for seed in range(count):
        mean, log_variance = gaussian(shape, seed)
        mean.requires_grad_()
        monitor.observe("z", mean, log_variance)
        (-mean.square()).sum().backward()
        monitor.step()
"""


def run(code: str, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", START + code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


FORKED = """
saved = []
def save(path):
    saved.append(path)
    path.write_bytes(b"model")

with monitor(responses=[KeepLastHealthy(save, folder / "kept", every=1)]) as watched:
    steps(watched, 3)
    child = os.fork()
    signal.alarm(60)
    if child == 0:
        steps(watched, 1200)  # more than any queue holds
        watched.state_dict()
        watched.close()
        os._exit(7 if len(saved) == 3 else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    steps(watched, 3)
"""


def test_a_forked_child_writes_nothing_and_never_waits(tmp_path: Path) -> None:
    """TensorBoard's thread is not in the child: 1,200 checks there would wait for it for ever.

    The child's checks are in no file, its responses save and remove nothing, and the parent goes
    on as if there had been no child.
    """
    done = run(FORKED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this process was forked from the one that made the monitor") == 1
    lines = list(read_ledger(tmp_path / LEDGER_NAME))[1:]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [e.step for e in events(tmp_path).Scalars("collapse/level")] == [1, 2, 3, 4, 5, 6]
    assert [p.name for p in (tmp_path / "kept").iterdir()] == ["last_healthy_step_6.ckpt"]


LOADED = """
class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, index):
        return gaussian((4,), index)

with monitor() as watched:
    for epoch in range(2):
        loader = torch.utils.data.DataLoader(
            Rows(), 16, num_workers=2, multiprocessing_context="fork"
        )
        for mean, log_variance in loader:
            watched.observe("z", mean, log_variance)
            watched.step()
"""


def test_workers_of_a_loader_are_forked_in_the_midst_of_it(tmp_path: Path) -> None:
    """With files and threads of ours open, workers come and go, and nothing is said or lost."""
    done = run(LOADED, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(read_ledger(tmp_path / LEDGER_NAME))) == 1 + 8


END = """
watched = monitor()
steps(watched, 5)
nan = torch.full((16, 4), float("nan"))
watched.observe("z", nan, nan)
watched.step()
if sys.argv[2] == "closed":
    watched.close()
    watched.close()
elif sys.argv[2] == "at exit":
    atexit.register(watched.close)
"""


@pytest.mark.parametrize("how", ["closed", "left open", "at exit"])
def test_the_interpreter_ends_quietly(tmp_path: Path, how: str) -> None:
    """Closed, never closed or closed while it ends: code 0, and no word of ours.

    The alert is on the disk in each case, and the ledger has every check. (A daemon thread that
    is still inside a torch operator aborts the interpreter's end, with us or without.)
    """
    done = run(END, tmp_path, how)  # it must end at all
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "can't start new thread" not in done.stderr
    lines = list(read_ledger(tmp_path / LEDGER_NAME))[1:]
    assert [line["step"] for line in lines[:6]] == [1, 2, 3, 4, 5, 6]
    assert lines[5]["alerts"][0]["kind"] == "explosion"
    assert [e.step for e in events(tmp_path).Scalars("collapse/level")][:6] == [1, 2, 3, 4, 5, 6]
