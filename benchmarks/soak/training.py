"""One session of the training, until it ends or is killed."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from collapse_logging import CollapseMonitor, Report, verdict
from collapse_logging.report import alert_to_dict
from collapse_logging.writers import TensorBoardWriter, Writer

from .schedule import Schedule

CHECKPOINT, PARAMETERS, BOARD, TOLD = "run.ckpt", "parameters.pt", "board", "told.log"
UNSTEADY = {"unsteady": False, "unsteady_in_background": True}
"""The writers that raise, and whether they work in a thread of their own."""

_INPUTS, _UNITS = 8, 4


class Unsteady(Writer):
    """Raises at random before it takes a report; what it takes is a line in a file."""

    def __init__(self, path: Path, schedule: Schedule, in_background: bool) -> None:
        self.path = path
        self.schedule = schedule
        self.in_background = in_background

    def resume(self, step: int) -> None:
        """Note that what came later is void."""
        self._put({"resumed": step})

    def write(self, report: Report) -> None:
        """Raise, or take it; in a thread of its own at leisure."""
        if self.in_background:
            time.sleep(self.schedule.lag(self.path.stem, report.step))
        if self.schedule.fails(self.path.stem, report.step):
            raise OSError(f"the schedule wants a failure at step {report.step}")
        alerts = [alert_to_dict(alert) for alert in report.alerts]
        self._put({"step": report.step, "alerts": alerts})

    def _put(self, values: dict[str, Any]) -> None:
        with self.path.open("ab", buffering=0) as file:  # one call: no kill leaves half a line
            file.write(json.dumps(values).encode() + b"\n")


class Training:
    """A small VAE, its optimiser and its stream of batches."""

    def __init__(self, schedule: Schedule) -> None:
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.mixing = torch.randn(_UNITS, _INPUTS)
        self.encoder = nn.Sequential(nn.Linear(_INPUTS, 16), nn.Tanh(), nn.Linear(16, 2 * _UNITS))
        self.decoder = nn.Linear(_UNITS, _INPUTS)
        self.model = nn.ModuleList([self.encoder, self.decoder])
        self.optimizer = torch.optim.Adam(self.model.parameters(), 0.01)

    def step(self, step: int, monitor: CollapseMonitor | None) -> None:
        """One step; of its batch the rows and the numbers are the schedule's."""
        stream = torch.Generator().manual_seed(1_000_003 * self.schedule.seed + step)
        rows, beta = self.schedule.rows(step), self.schedule.beta(step)
        x = torch.randn(rows, _UNITS, generator=stream) @ self.mixing
        mean, log_variance = self.encoder(x).chunk(2, -1)
        if monitor is not None:
            self._observe(monitor, step, mean, log_variance)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        reconstruction = (self.decoder(z) - x).square().sum() / max(rows, 1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum() / max(rows, 1)
        self.optimizer.zero_grad()
        (reconstruction + beta * kl).backward()
        self.optimizer.step()
        if monitor is not None:
            monitor.step(reconstruction_loss=reconstruction, beta=beta)

    def _observe(
        self, monitor: CollapseMonitor, step: int, mean: Tensor, log_variance: Tensor
    ) -> None:
        monitor.observe("z", mean, log_variance)
        copies = mean.detach().clone(), log_variance.detach().clone()
        if self.schedule.has_positions(step):
            pairs = (copy.clone().reshape(-1, 2, _UNITS // 2) for copy in copies)
            monitor.observe("positions", *pairs)
        burst = self.schedule.burst(step)
        if burst is not None and len(mean):
            spoil(burst, *copies)
        monitor.observe(self.schedule.copy(step), *copies)

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser and random stream."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])


def spoil(burst: str, mean: Tensor, log_variance: Tensor) -> None:
    """Make values that are not finite, or whose exponential is not."""
    if burst == "element":
        mean[0, 0] = math.nan
    elif burst == "unit":
        mean[:, 1] = math.nan
    elif burst == "everything":
        mean.fill_(math.nan)
    elif burst == "infinite":
        log_variance[-1] = math.inf
    else:
        log_variance[:, -1] = 1000.0


def session(folder: Path, schedule: Schedule, chaos: bool, watched: bool, reached: Any) -> None:
    """Train from the newest checkpoint to the end; ``reached.value`` is the step.

    Args:
        folder: for all that it writes.
        schedule: of the training.
        chaos: whether writers fail, folders vanish and checkpoints are saved.
        watched: whether a monitor watches.
        reached: what the parent looks at.
    """
    torch.set_num_threads(1)
    verdict.ENOUGH_SAMPLES = 0  # windows are judged alone, so that samples can be counted
    sys.stderr = (folder / TOLD).open("a", buffering=1)
    logging.basicConfig(stream=sys.stderr, force=True)
    training, monitor, start = Training(schedule), None, 0
    if watched:
        unsteady = [Unsteady(folder / f"{n}.jsonl", schedule, own) for n, own in UNSTEADY.items()]
        monitor = CollapseMonitor(
            [TensorBoardWriter(folder / BOARD), *(unsteady if chaos else ())],
            log_dir=folder,
            check_frequency=schedule.check_every,
            observe_every=1,
            max_rows=None,
            verbose=False,
        )
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        start = saved["step"]
        training.load_state_dict(saved["training"])
        if monitor is not None:
            monitor.load_state_dict(saved["monitor"])
    for step in range(start + 1, schedule.steps + 1):
        reached.value = step
        training.step(step, monitor)
        if chaos and monitor is not None:
            disturb(folder, schedule.strike(step), step)
            if step % schedule.save_every == 0:
                state = {"training": training.state_dict(), "monitor": monitor.state_dict()}
                save({"step": step, **state}, checkpoint)
    if monitor is not None:
        monitor.close()
    save(training.model.state_dict(), folder / PARAMETERS)


def disturb(folder: Path, strike: str | None, step: int) -> None:
    """Take TensorBoard's folder away under its writer."""
    if strike == "delete":
        shutil.rmtree(folder / BOARD, ignore_errors=True)
    elif strike == "rename":
        with contextlib.suppress(OSError):  # it is away already
            (folder / BOARD).rename(folder / f"{BOARD}.{step}.{os.getpid()}")


def save(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
