"""``collapse-logging train``: one training with the detector, from its folders to its last word."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from ..lightning import PosteriorCollapseDetector
from .digits import Digits, DigitsVAE
from .patients import Patients
from .seqset import SeqSetVAE
from .text import Text, TextVAE

_FOLDERS = "COLLAPSE_LOGGING_TRAIN_FOLDERS"
"""Tells the processes that Lightning starts for further devices the folders of the first."""

_SAVED_EVERY = timedelta(minutes=30)
"""An epoch may take a day."""


@dataclass(frozen=True)
class Model:
    """What can be trained.

    Attributes:
        latents: paths of the modules that give its posteriors.
        epochs: if nobody says how many.
        batch_size: if nobody says how large.
        probe: its method that gives each sample's loss.
    """

    latents: Mapping[str, str]
    epochs: int
    batch_size: int
    probe: str | None = None


MODELS = {
    "seqset": Model({"z": "encoder"}, 5, 1, "loss_by_set"),
    "text": Model({"z": "encoder"}, 10, 32),
    "mlp": Model({"z": "vae.encoder"}, 60, 128),
}


@dataclass(frozen=True)
class Ended:
    """How a training ended.

    Attributes:
        step: optimiser steps that were made.
        interrupted: whether by Ctrl-C.
        first: whether this process speaks for all.
    """

    step: int
    interrupted: bool
    first: bool


def build(
    name: str,
    data_dir: str | None,
    batch_size: int | None,
    seed: int,
    settings: Mapping[str, Any],
    looking: str,
) -> tuple[pl.LightningModule, pl.LightningDataModule]:
    """A model of this name and its data; parameters are drawn from the seed.

    Args:
        name: of :data:`MODELS`.
        data_dir: the patients' folder, or None.
        batch_size: samples or patients a batch; None: the model's own.
        seed: of parameters, batches and the synthetic cohort.
        settings: the model's further arguments.
        looking: stands before the bar while a folder is looked through.

    Raises:
        ValueError: a folder or a file that cannot be used, with what to mend.
    """
    size = batch_size or MODELS[name].batch_size
    pl.seed_everything(seed, verbose=False)
    if name == "mlp":
        return DigitsVAE(**settings), Digits(size)
    if name == "text":
        return TextVAE(**settings), Text(size)
    data = Patients(data_dir, size, seed=seed)
    _survey(data, looking)
    assert data.variables is not None  # it was surveyed
    return SeqSetVAE(len(data.variables.names), **settings), data


def _survey(data: Patients, looking: str) -> None:
    """Look through the data, with a bar: a large folder takes minutes."""
    from rich.progress import Progress

    with Progress(transient=True, disable=not is_first()) as progress:
        task = progress.add_task(looking, total=None)
        data.setup(told=lambda done, total: progress.update(task, completed=done, total=total))


def is_first() -> bool:
    """Whether this is no process that Lightning has started for a further device."""
    return "LOCAL_RANK" not in os.environ or _FOLDERS not in os.environ


def folders(log_dir: str | None, output_dir: str, name: str) -> tuple[Path, Path]:
    """Where this run's logs and models go: folders of its own, also on further devices.

    The log folder is ``log_dir`` itself while it is free, else, and by default, one with the
    time in its name.
    """
    if not is_first():
        first, second = os.environ[_FOLDERS].split(os.pathsep)
        return Path(first), Path(second)
    now = time.strftime("%Y%m%d_%H%M%S")
    logs, outputs = Path(log_dir or f"collapse_logs_{now}"), Path(output_dir) / f"{name}_{now}"
    if logs.exists() and any(logs.iterdir()):
        logs = logs.with_name(f"{logs.name}_{now}")
    os.environ[_FOLDERS] = os.pathsep.join(map(str, (logs, outputs)))
    return logs, outputs


def detector(name: str, fast: bool, logs: Path, stop: bool, language: str) -> Callback:
    """The detector as the manual's two modes have it."""
    return PosteriorCollapseDetector(
        rules="fast" if fast else "default",
        latents=dict(MODELS[name].latents),
        probe=MODELS[name].probe,
        beta="beta" if name == "seqset" else None,
        log_dir=str(logs),
        stop_on_collapse=stop,
        language=language,
    )


def fit(
    model: pl.LightningModule,
    data: pl.LightningDataModule,
    callbacks: list[Callback],
    logs: Path,
    outputs: Path,
    resume: str | None,
    limits: Mapping[str, Any],
) -> Ended:
    """Train to the end or to Ctrl-C; ``last.ckpt`` is written either way.

    Args:
        model: the model.
        data: its data.
        callbacks: the detector, or nothing.
        logs: folder of the event file.
        outputs: folder of ``last.ckpt``.
        resume: a checkpoint to go on from.
        limits: the Trainer's ``max_epochs``, ``max_steps``, ``devices``.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it speaks of itself
    for name in ("pytorch_lightning", "lightning_fabric", "lightning_utilities"):
        warnings.filterwarnings("ignore", module=name)
    last = ModelCheckpoint(
        outputs,
        "last",
        train_time_interval=_SAVED_EVERY,
        save_on_exception=True,
        enable_version_counter=False,
    )
    trainer = pl.Trainer(
        accelerator="auto",
        logger=TensorBoardLogger(str(logs), name="", version=""),
        callbacks=[*callbacks, last, RichProgressBar(refresh_rate=10)],
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        **limits,
    )
    before, interrupted = signal.getsignal(signal.SIGINT), False
    try:
        trainer.fit(model, data, ckpt_path=resume)
        trainer.save_checkpoint(outputs / "last.ckpt")
    except SystemExit:  # Lightning's answer to Ctrl-C, once everything is closed
        interrupted = trainer.interrupted
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    return Ended(trainer.global_step, interrupted, trainer.is_global_zero)
