"""Small models, data and Trainers for the Lightning tests."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from collapse_logging.training.vae import VAE

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")


def patterns(rows: int = 512) -> Tensor:
    """Sixteen binary pictures of 64 pixels: a VAE finds them within 40 steps."""
    generator = torch.Generator().manual_seed(7)
    pictures = (torch.rand(16, 64, generator=generator) > 0.5).float() * 0.9 + 0.05
    return pictures[torch.randint(16, (rows,), generator=generator)]


def loader(rows: int = 512, batch: int = 64) -> DataLoader[Any]:
    """The same batches in the same order every epoch."""
    return DataLoader(TensorDataset(patterns(rows)), batch)


class Core(nn.Module):
    """What every model here shares; a Lightning class is put on top of it by :func:`model`."""

    def __init__(
        self,
        reduction: str = "sum",
        collapse_at: int | None = None,
        dropout: float = 0.0,
        learning_rate: float = 5e-3,
        seed: int = 0,
        **ignored: Any,
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.vae = VAE(64, 32, 4, reduction)
        self.dropout = nn.Dropout(dropout)
        self.collapse_at = collapse_at
        self.learning_rate = learning_rate

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        """Loss of one batch; logs what most people log."""
        if self.collapse_at is not None and self.global_step >= self.collapse_at:
            self.vae.beta = 1000.0
        loss, reconstruction = self.vae(self.dropout(batch[0]))
        self.log("train_loss", loss)
        self.log("train_recon", reconstruction)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), self.learning_rate)


def model(pl: Any, core: type[Core] = Core, **options: Any) -> Any:
    """A LightningModule of the namespace ``pl`` with the methods of ``core``."""
    return type(core.__name__, (core, pl.LightningModule), {})(**options)


def trainer(pl: Any, folder: Path, *callbacks: Any, **options: Any) -> Any:
    """A quiet Trainer on the CPU."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 10,
        "max_steps": 60,
        "default_root_dir": folder,
    }
    return pl.Trainer(callbacks=list(callbacks), **{**quiet, **options})


def part(pl: Any, name: str) -> Any:
    """A submodule of the namespace, e.g. ``part(pl, "loggers")``."""
    return importlib.import_module(f"{pl.__name__}.{name}")


def hooks(module: nn.Module) -> int:
    """Forward hooks on a module and its children."""
    return sum(len(child._forward_hooks) for child in module.modules())
