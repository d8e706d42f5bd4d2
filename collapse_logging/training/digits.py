"""The digits VAE for ``collapse-logging fit``: a LightningModule and its data."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .vae import VAE


class DigitsVAE(pl.LightningModule):
    """An MLP VAE on 8 x 8 digits.

    Args:
        hidden: width of both hidden layers.
        units: latent units.
        reduction: ``"sum"``, or ``"mean"`` to see a collapse.
        beta: weight of the KL.
        learning_rate: Adam's.
    """

    def __init__(
        self,
        hidden: int = 128,
        units: int = 8,
        reduction: str = "sum",
        beta: float = 1.0,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.vae = VAE(64, hidden, units, reduction, beta)
        self.learning_rate = learning_rate

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch ``[batch, 64]``; logs it and the reconstruction loss."""
        loss, reconstruction = self.vae(batch[0])
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_recon", reconstruction)
        return loss  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), self.learning_rate)


class Digits(pl.LightningDataModule):
    """The digits in batches.

    Args:
        batch_size: samples a batch.
    """

    def __init__(self, batch_size: int = 128) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled every epoch."""
        return DataLoader(TensorDataset(digits()), self.batch_size, shuffle=True)
