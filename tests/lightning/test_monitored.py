"""Lightning's own callbacks on our scalars, and where the reconstruction loss comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collapse_logging import PosteriorCollapseDetector, Report
from collapse_logging.writers import MemoryWriter

from .parts import Core, loader, model, part, trainer


def reports(pl: Any, folder: Path, core: type[Core] = Core, **options: Any) -> list[Report]:
    """The reports of twenty steps."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False, **options
    )
    trainer(pl, folder, detector, max_steps=20).fit(model(pl, core), loader())
    return memory.reports


def test_callback_metrics_have_every_scalar(pl: Any, tmp_path: Path) -> None:
    """They are those of the last report, as tensors, beside the model's own."""
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, verbose=False
    )
    run = trainer(pl, tmp_path, detector, max_steps=20)
    run.fit(model(pl), loader())
    scalars = detector.report.scalars()
    found = {tag: run.callback_metrics[tag].item() for tag in scalars}
    assert found == pytest.approx(scalars, rel=1e-6)
    assert "train_loss" in run.callback_metrics


def test_model_checkpoint_keeps_the_most_informed(pl: Any, tmp_path: Path) -> None:
    """ModelCheckpoint(monitor=...) picks the epoch before the collapse by our information."""
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=8, verbose=False
    )
    best = part(pl, "callbacks").ModelCheckpoint(
        tmp_path, monitor="collapse/z/information", mode="max", filename="best-{step}",
        auto_insert_metric_name=False, save_on_train_epoch_end=True,
    )  # fmt: skip
    run = trainer(pl, tmp_path, detector, best, max_steps=120, enable_checkpointing=True)
    run.fit(model(pl, collapse_at=64), loader())
    assert Path(best.best_model_path).name == "best-64.ckpt"
    assert best.best_model_score > 1.0


class Returned(Core):
    """Returns a dictionary and logs nothing."""

    key, per_sample = "recon_loss", False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """The reconstruction loss of batch i is i, or has i as its mean over the samples."""
        loss, _ = self.vae(batch[0])
        value = torch.tensor(float(self.global_step), requires_grad=True)
        if self.per_sample:
            value = value + torch.tensor([-1.0, 0.0, 1.0])
        return {"loss": loss, self.key: value}


class PerSample(Returned):
    """One reconstruction loss a sample."""

    per_sample = True


@pytest.mark.parametrize("core", [Returned, PerSample])
def test_the_returned_loss_is_taken(pl: Any, tmp_path: Path, core: type[Core]) -> None:
    """The mean of 0 to 9, then of 10 to 19; one value a sample ends no training."""
    found = [r.measures["reconstruction_loss"] for r in reports(pl, tmp_path, core)]
    assert found == [4.5, 14.5]


def test_the_key_that_was_given_wins(pl: Any, tmp_path: Path) -> None:
    """``reconstruction_key`` is read, although a known name is logged too."""

    class Both(Returned):
        key = "mine"

        def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
            self.log("train_recon", 99.0)
            return super().training_step(batch, batch_idx)

    found = reports(pl, tmp_path, Both, reconstruction_key="mine")
    assert [r.measures["reconstruction_loss"] for r in found] == [4.5, 14.5]


def test_the_steps_value_is_taken(pl: Any, tmp_path: Path) -> None:
    """With on_step and on_epoch it is the step's value, not the epoch's mean."""

    class Logs(Core):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            self.log("train_recon", float(self.global_step), on_step=True, on_epoch=True)
            return self.vae(batch[0])[0]

    found = reports(pl, tmp_path, Logs)
    assert [r.measures["reconstruction_loss"] for r in found] == [4.5, 14.5]


def test_without_a_loss_there_is_no_scalar(pl: Any, tmp_path: Path) -> None:
    """Nothing logged under a known name: no reconstruction_loss, no error, all else is there."""

    class Silent(Core):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            self.log("something_else", 1.0)
            return self.vae(batch[0])[0]

    for report in reports(pl, tmp_path, Silent):
        assert report.measures == {}
        assert "information" in report.latents["z"].measures
