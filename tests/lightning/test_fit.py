"""The callback leaves the training as it is, whatever the training does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from collapse_logging import PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter

from .parts import Core, hooks, loader, model, part, trainer


def detector(**options: Any) -> tuple[PosteriorCollapseDetector, MemoryWriter]:
    """A quiet detector that checks every ten steps, and what it reports."""
    memory = MemoryWriter()
    quiet = {"latents": {"z": "vae.encoder"}, "check_frequency": 10, "verbose": False}
    return PosteriorCollapseDetector(writers=[memory], **{**quiet, **options}), memory


class WithValidation(Core):
    """Validates inside fit."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """One forward that must not count."""
        self.vae(batch[0])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_training_is_bit_identical(pl: Any, tmp_path: Path, reduction: str) -> None:
    """Parameters and the three random streams are the same with and without the callback."""
    found = []
    for callbacks in ([], [detector()[0]]):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        one = model(pl, reduction=reduction, dropout=0.2)
        torch.manual_seed(2)
        trainer(pl, tmp_path, *callbacks).fit(one, loader())
        streams = (torch.rand(3).tolist(), random.random(), np.random.rand())
        found.append(([p.detach().clone() for p in one.parameters()], streams))
    (without, stream), (with_it, same) = found
    assert stream == same
    assert all(torch.equal(a, b) for a, b in zip(without, with_it, strict=True))


def test_accumulated_batches_are_one_step(pl: Any, tmp_path: Path) -> None:
    """Checks count optimiser steps, samples count all micro-batches, growth is there."""
    callback, memory = detector()
    fit = trainer(pl, tmp_path, callback, accumulate_grad_batches=4, max_steps=20)
    fit.fit(model(pl), loader())
    assert [report.steps for report in memory.reports] == [10, 10]
    assert memory.reports[0].latents["z"].measures["samples"] == 10 * 4 * 64
    assert "growth" in memory.reports[0].latents["z"].measures


class TwoOptimizers(Core):
    """Encoder and decoder have an optimiser each, stepped by hand."""

    automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Both step in every batch."""
        loss, _ = self.vae(batch[0])
        first, second = self.optimizers()
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(loss)
        first.step()
        second.step()

    def configure_optimizers(self) -> Any:
        """One for each half."""
        return [
            torch.optim.Adam(half.parameters(), 1e-3)
            for half in (self.vae.encoder, self.vae.decoder)
        ]


def test_two_optimizers_do_not_double_the_axis(pl: Any, tmp_path: Path) -> None:
    """global_step counts both; the step of the reports counts batches."""
    callback, memory = detector()
    trainer(pl, tmp_path, callback, max_steps=80).fit(model(pl, TwoOptimizers), loader())
    assert [report.step for report in memory.reports] == [9, 19, 29, 39]


def test_the_scalars_can_be_monitored(pl: Any, tmp_path: Path) -> None:
    """EarlyStopping on collapse/level ends a run that turned red."""
    callback, _ = detector()
    stopping = part(pl, "callbacks").EarlyStopping(
        "collapse/level", mode="min", stopping_threshold=-1, divergence_threshold=2.5, patience=99,
        check_on_train_epoch_end=True,
    )  # fmt: skip
    fit = trainer(pl, tmp_path, callback, stopping, max_steps=200, min_epochs=2)
    fit.fit(model(pl, reduction="mean"), loader(640))
    assert fit.global_step < 200
    assert fit.callback_metrics["collapse/level"] == 3
    assert "collapse/z/information" in fit.callback_metrics


@pytest.mark.parametrize("name", ["train_recon", "recon_loss", "reconstruction_loss", "mine"])
@pytest.mark.parametrize("on_epoch", [False, True])
def test_the_reconstruction_loss_is_found(
    pl: Any, tmp_path: Path, name: str, on_epoch: bool
) -> None:
    """Logged under a known name, or the one that was given, a step or an epoch at a time."""

    class Logs(Core):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            loss, reconstruction = self.vae(batch[0])
            self.log(name, reconstruction, on_step=not on_epoch, on_epoch=on_epoch)
            return loss

    callback, memory = detector(reconstruction_key="mine" if name == "mine" else None)
    trainer(pl, tmp_path, callback, max_steps=10).fit(model(pl, Logs), loader())
    assert 5 < memory.reports[0].measures["reconstruction_loss"] < 64


class ZList(Core):
    """The manual's convention: two latents in a list, no module gives a posterior."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heads = nn.ModuleList(nn.Linear(64, 4) for _ in range(4))
        del self.vae
        self.decoder = nn.Linear(8, 64)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """A squared error and no KL; the list is all that counts here."""
        m1, v1, m2, v2 = (head(batch[0]) for head in self.heads)
        self._last_z_list = [(m1, m1, v1), (m2, m2, v2)]
        return (self.decoder(torch.cat([m1, m2], 1)) - batch[0]).square().sum()


def test_last_z_list_is_found(pl: Any, tmp_path: Path) -> None:
    """Without latents= the list of (z, mean, log_variance) is read, growth included."""
    callback, memory = detector(latents=None)
    trainer(pl, tmp_path, callback, max_steps=10).fit(model(pl, ZList), loader())
    assert set(memory.reports[0].latents) == {"z0", "z1"}
    assert "growth" in memory.reports[0].latents["z1"].measures


def test_the_one_encoder_is_found(pl: Any, tmp_path: Path) -> None:
    """Without latents= the one module that gives a posterior is taken, from the first step."""
    callback, memory = detector(latents=None)
    trainer(pl, tmp_path, callback, max_steps=10).fit(model(pl), loader())
    assert list(memory.reports[0].latents) == ["vae.encoder"]
    assert memory.reports[0].latents["vae.encoder"].measures["samples"] == 640


def test_only_training_counts(pl: Any, tmp_path: Path) -> None:
    """Sanity check and validation add no sample; afterwards no hook is left."""
    callback, memory = detector()
    one = model(pl, WithValidation)
    fit = trainer(pl, tmp_path, callback, max_steps=20, val_check_interval=4)
    fit.fit(one, loader(), loader(128))
    assert [r.latents["z"].measures["samples"] for r in memory.reports] == [640, 640]
    fit.validate(one, loader(128), verbose=False)
    assert len(memory.reports) == 2
    assert hooks(one) == 0


@pytest.mark.parametrize(
    "options", [{"fast_dev_run": True}, {"max_steps": 0}, {"limit_train_batches": 0}], ids=str
)
def test_runs_without_training_write_nothing(
    pl: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    """No report, no file, no error, no hook left."""
    callback, memory = detector()
    one = model(pl)
    trainer(pl, tmp_path, callback, **options).fit(one, loader())
    assert memory.reports == []
    assert not list(tmp_path.rglob("*.jsonl"))
    assert hooks(one) == 0
