"""Ours beside what people do instead, in one Trainer: the manual's way, self.log, torchmetrics."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from collapse_logging import CollapseMonitor
from collapse_logging.writers import TensorBoardWriter

from .blocks import Block, Stopwatch, by_round, order
from .grid import CONTROL, WITHOUT, plain
from .metrics import TorchMetrics
from .training import Model, Size, batches
from .watchers import CHECK_EVERY, PLOT_EVERY, Manual, Nobody, Ours, SelfLog, Watcher

SIZE = Size(batch=128, units=32, latents=1, hidden=256)
ROUNDS = PLOT_EVERY // (2 * CHECK_EVERY) * 2
"""Each arm's own steps are then twice the manual's 500: two of its figures, no more, no less."""


class Watched(pl.LightningModule):
    """The model, watched by another arm in each epoch; an epoch is a block."""

    def __init__(self, size: Size, played: list[str], folder: Path) -> None:
        super().__init__()
        self.model = Model(size)
        self.played = played
        monitor = CollapseMonitor([TensorBoardWriter(folder / "ours")], verbose=False)
        self.arms: dict[str, Watcher] = {
            WITHOUT: Nobody(),
            CONTROL: Nobody(),
            "ours": Ours(monitor),
            "manual": Manual(folder),
            "self.log": SelfLog(self.log),
            "torchmetrics": TorchMetrics(),
        }
        self.spent = Stopwatch()

    @property
    def watcher(self) -> Watcher:
        """Whose block it is."""
        return self.arms[self.played[self.current_epoch]]

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        """The loss; the watcher is told the posteriors."""
        loss, reconstruction, posteriors = self.model(batch)
        with self.spent:
            self.watcher.observe(posteriors, reconstruction)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Tensor, index: int) -> None:
        """The watcher is told the end of the step."""
        with self.spent:
            self.watcher.step()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), 1e-3)


class Clock(pl.Callback):
    """Times the epochs: from the start of one to the start of the next."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._started: tuple[float, float] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Watched) -> None:
        """A block ends and one begins."""
        self._end(pl_module)
        self._started = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Watched) -> None:
        """The last block ends."""
        self._end(pl_module)

    def _end(self, module: Watched) -> None:
        if self._started is not None:
            wall, processor = self._started
            whole = time.perf_counter() - wall, time.process_time() - processor
            self.blocks.append(Block(*whole, module.spent.wall, module.spent.processor))
        module.spent = Stopwatch()


def baselines(
    tell: Callable[[str], None],
    size: Size = SIZE,
    rounds: int = ROUNDS,
    steps: int = CHECK_EVERY,
) -> dict[str, Any]:
    """All arms in turns in one ``Trainer.fit``; the first round warms up and is left out."""
    tell(f"baselines: batch {size.batch}, {size.latents} latent of {size.units} units")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's about workers and the number of batches
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        figures, arms = _fit(Path(folder), size, rounds, steps)
    about = {"batch": size.batch, "units": size.units, "latents": size.latents}
    return {**about, "steps": 2 * steps, "arms": {n: plain(figures[n]) for n in arms}}


def _fit(folder: Path, size: Size, rounds: int, steps: int) -> tuple[Any, list[str]]:
    torch.manual_seed(0)
    module = Watched(size, [], folder)
    arms = list(module.arms)
    warm_up = order(arms, 1)
    module.played = warm_up + order(arms, rounds)
    clock, data = Clock(), batches(size)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=len(module.played),
        logger=TensorBoardLogger(str(folder)),
        callbacks=[clock],
        log_every_n_steps=CHECK_EVERY,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([data[i % len(data)] for i in range(steps)], batch_size=None))
    for watcher in module.arms.values():
        watcher.close()
    return by_round(module.played[len(warm_up) :], clock.blocks[len(warm_up) :]), arms
