"""The sequential set VAE: a patient is a sequence of sets of events, each set has a latent."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..arguments import require_count, require_number, require_one_of
from .events import Batch
from .sets import Course, SetDecoder, SetEncoder
from .vae import Posterior
from .warmup import warmed_up


class SeqSetVAE(pl.LightningModule):
    """A latent for each set of a patient's events, and a causal transformer over the latents.

    A set's events are encoded in any order; z is drawn for each set; the transformer reads the
    z of this set and of those before it; from what it says a decoder tells which variables the
    set has, and their values. Batches of one patient and of many give the same loss: padding
    has no posterior, so neither the loss nor the detector can count it.

    Args:
        variables: how many variables the cohort has at most.
        hidden: width of every layer.
        units: of a set's latent.
        layers: of the transformer.
        heads: of its attention.
        deviation: standard deviation of a value about the predicted one, in the variable's own.
        beta: weight of the KL.
        warmup_beta: whether the weight rises from 0 to ``max_beta`` in ``beta_warmup_steps``.
        max_beta: the weight after the warm-up; None: ``beta``.
        beta_warmup_steps: optimiser steps that it takes.
        free_bits: nats a unit that cost nothing (Kingma et al. 2016).
        kl_annealing: the weight rises along a logistic curve (Bowman et al. 2016) to ``max_beta``
            with ``warmup_beta``, else to ``beta``.
        reduction: ``"sum"`` sums a set's reconstruction loss, as the ELBO says; ``"mean"``
            averages it, to see what the commonest mistake does.
        bypass: whether the transformer also gets a set's features past z, to see what a decoder
            does that can do without.
        learning_rate: Adam's.

    Raises:
        TypeError, ValueError: an argument out of its range.
    """

    def __init__(
        self,
        variables: int = 32,
        hidden: int = 64,
        units: int = 16,
        layers: int = 1,
        heads: int = 4,
        deviation: float = 1.0,
        beta: float = 0.5,
        warmup_beta: bool = True,
        max_beta: float | None = None,
        beta_warmup_steps: int = 2000,
        free_bits: float = 0.0,
        kl_annealing: bool = False,
        reduction: str = "sum",
        bypass: bool = False,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        require_count("beta_warmup_steps", beta_warmup_steps, at_least=1)
        require_one_of("reduction", reduction, ("sum", "mean"))
        self.beta = beta if max_beta is None or not warmup_beta else max_beta
        for name, value in (("beta", self.beta), ("free_bits", free_bits)):
            require_number(name, value)
        self.save_hyperparameters()
        self.features = SetEncoder(variables, hidden)
        self.encoder = Posterior(hidden, units)
        self.course = Course(units + hidden * bypass, hidden, layers, heads)
        self.decoder = SetDecoder(hidden, variables, hidden, deviation)
        self.rises, self.logistic = warmup_beta or kl_annealing, kl_annealing
        self.beta_warmup_steps, self.warmup_began = beta_warmup_steps, 0
        self.free_bits, self.reduction, self.bypass = free_bits, reduction, bypass
        self.learning_rate = learning_rate

    @property
    def beta_now(self) -> float:
        """The weight of the KL at this step."""
        if not self.rises:
            return self.beta
        step = self.global_step - self.warmup_began
        return warmed_up(self.beta, step, self.beta_warmup_steps, self.logistic)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and KL of each set in nats, ``[sets]`` and ``[sets, units]``."""
        features = self.features(batch)
        mean, log_variance = self.encoder(features)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        told = torch.cat([z, features], 1) if self.bypass else z
        reconstruction = self.decoder(self.course(told, batch), batch, self.reduction)
        return reconstruction, 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)

    def loss_by_set(self, batch: Batch) -> Tensor:
        """Reconstruction loss of each set, ``[sets]``; the detector's ``probe``."""
        reconstruction: Tensor = self(batch)[0]
        return reconstruction

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss in nats a set; logs it, its parts and the weight of the KL."""
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The same on patients that are not trained on."""
        return self._step(batch, "valid")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The same on patients that were kept for the end."""
        return self._step(batch, "test")

    def _step(self, batch: Batch, split: str) -> Tensor:
        by_set, kl_by_unit = self(batch)
        reconstruction, kl = by_set.mean(), kl_by_unit.mean(0)
        beta = self.beta_now
        loss = reconstruction + beta * kl.clamp(min=self.free_bits).sum()
        shown, rows = {f"{split}_recon": reconstruction, f"{split}_kl": kl.sum()}, len(by_set)
        self.log(f"{split}_loss", loss, prog_bar=split == "train", batch_size=rows)
        self.log_dict(shown, batch_size=rows)
        if split == "train":
            self.log("beta", beta, batch_size=rows)
        return loss  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), self.learning_rate)
