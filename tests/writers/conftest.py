"""Reports of a real monitor over posteriors whose fate is known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from collapse_logging import CollapseMonitor, Report
from collapse_logging.writers import MemoryWriter, Writer


def drive(
    writers: list[Writer],
    checks: int = 12,
    dies_at: int = 4,
    latents: tuple[str, ...] = ("z",),
    strict: bool = True,
    **arguments: Any,
) -> None:
    """Run a monitor whose latents carry much until check ``dies_at``, little in it, then nothing.

    Beta was lowered just before, so that the check after it is orange and the next one red.
    """
    torch.manual_seed(0)
    arguments = {"check_frequency": 5, "verbose": False, "strict": strict, **arguments}
    with CollapseMonitor(writers, **arguments) as monitor:
        for step in range(5 * checks):
            alive, fading = step < 5 * dies_at, step < 5 * (dies_at + 1)
            spread = 2.0 if alive else 0.36 if fading else 0.01
            for latent in latents:
                mean = (spread * torch.randn(64, 6)).requires_grad_()
                monitor.observe(latent, mean, torch.full((64, 6), -3.0 if alive else -0.01))
                (mean.square().sum() * (0.0 if alive else 1.0)).backward()
            loss = 1.0 + 0.01 * max(0, step - 5 * dies_at)
            beta = 2.0 if step < 5 * (dies_at - 1) else 1.0
            monitor.step(reconstruction_loss=loss, beta=beta)


@pytest.fixture(scope="session")
def reports() -> list[Report]:
    """Twelve checks: healthy, then collapsing to red."""
    memory = MemoryWriter()
    drive([memory])
    return memory.reports


@pytest.fixture(scope="session")
def healthy() -> list[Report]:
    """Four checks at which nothing is wrong."""
    memory = MemoryWriter()
    drive([memory], checks=4)
    return memory.reports


KILL = """
import os, signal
from collapse_logging import Level
from collapse_logging.writers import LedgerWriter, TensorBoardWriter, Writer
from tests.writers.conftest import drive

class Kill(Writer):
    def write(self, report):
        if report.level is Level.RED:
            os.kill(os.getpid(), signal.SIGKILL)

drive([{writer}, Kill()])
"""


def killed_after_red(writer: str) -> None:
    """Run a collapse in a process that is killed right behind the write of its red report."""
    code = KILL.format(writer=writer)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ},
        timeout=100,
    )
    assert done.returncode == -signal.SIGKILL
