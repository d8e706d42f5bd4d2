"""What is read from a Lightning Trainer, and what it is given; imports no Lightning."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .report import Report
from .writers import LoggerWriter, TensorBoardWriter, WandbWriter, Writer

RECONSTRUCTION_KEYS = ("train_recon", "recon_loss", "reconstruction_loss")
"""Logged metrics that are taken for the reconstruction loss, the first that is there."""


def logger_writers(loggers: list[Any], prefix: str) -> list[Writer]:
    """A writer for each logger, recognised by its experiment and not by its class."""
    writers: list[Writer] = []
    for logger in loggers:
        experiment = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_scalar") and hasattr(experiment, "add_histogram_raw"):
            writers.append(TensorBoardWriter(experiment, prefix=prefix))
        elif hasattr(experiment, "define_metric") and hasattr(experiment, "alert"):
            writers.append(
                WandbWriter(experiment, step_metric="trainer/global_step", prefix=prefix)
            )
        else:
            writers.append(LoggerWriter(logger, prefix=prefix))
    return writers


def run_folder(trainer: Any, log_dir: str | None) -> Path:
    """Where ledger and checkpoints go."""
    if log_dir is not None:
        return Path(log_dir)
    own = getattr(trainer.logger, "log_dir", None)
    return Path(own) / "collapse" if own else Path(trainer.default_root_dir) / "collapse_logs"


def tracker_step(trainer: Any) -> int:
    """The x-axis of Lightning's own curves; ``global_step`` counts each optimiser's step."""
    loop = trainer.fit_loop.epoch_loop
    return int(getattr(loop, "_batches_that_stepped", trainer.global_step))


def logged_loss(trainer: Any, outputs: Any, key: str | None) -> Tensor | None:
    """This step's reconstruction loss, as the model logged or returned it; nothing is waited for.

    Lightning has no public way to a step's logged value that does not compute all metrics.
    """
    keys = (key,) if key else RECONSTRUCTION_KEYS
    results = getattr(trainer.fit_loop.epoch_loop, "_results", None) or {}
    for name in keys:
        if isinstance(outputs, Mapping) and isinstance(outputs.get(name), Tensor):
            return typing.cast(Tensor, outputs[name]).detach()
        result = results.get(f"training_step.{name}")
        if result is None or not getattr(result, "is_tensor", False):
            continue
        if result.meta.on_step:
            return typing.cast(Tensor, result._forward_cache)
        if result.meta.is_mean_reduction:  # on_epoch alone: the epoch's mean so far
            return typing.cast(Tensor, result.value / result.cumulated_batch_size)
    return None


def publish(trainer: Any, report: Report, prefix: str) -> None:
    """Let EarlyStopping and ModelCheckpoint monitor the scalars."""
    values = {tag: torch.tensor(value) for tag, value in report.scalars(prefix).items()}
    trainer.callback_metrics.update(values)
