"""A small VAE, written as most people write theirs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Posterior(nn.Module):
    """Features to the posterior: two heads, for the mean and the log variance."""

    def __init__(self, hidden: int, units: int) -> None:
        super().__init__()
        self.mean = nn.Linear(hidden, units)
        self.log_variance = nn.Linear(hidden, units)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[rows, hidden]`` to ``(mean, log_variance)``, each ``[rows, units]``."""
        return self.mean(features), self.log_variance(features)


class Encoder(nn.Module):
    """Two layers and two heads: the posterior's mean and log variance."""

    def __init__(self, inputs: int, hidden: int, units: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, units)
        self.log_variance = nn.Linear(hidden, units)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(mean, log_variance)``, each ``[batch, units]``."""
        h = self.body(x)
        return self.mean(h), self.log_variance(h)


class VAE(nn.Module):
    """MLP VAE with a Bernoulli likelihood.

    Args:
        inputs: pixels.
        hidden: width of both hidden layers.
        units: latent units.
        reduction: ``"sum"`` sums the reconstruction loss over pixels, as the ELBO says;
            ``"mean"`` averages it, the commonest cause of posterior collapse.
        beta: weight of the KL.
    """

    def __init__(
        self,
        inputs: int = 64,
        hidden: int = 128,
        units: int = 8,
        reduction: str = "sum",
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, hidden, units)
        self.decoder = nn.Sequential(nn.Linear(units, hidden), nn.ReLU(), nn.Linear(hidden, inputs))
        self.reduction = reduction
        self.beta = beta

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and reconstruction loss, in nats a sample; ``x`` is ``[batch, inputs]``."""
        mean, log_variance = self.encoder(x)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        per_pixel = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none")
        reconstruction = per_pixel.sum(1) if self.reduction == "sum" else per_pixel.mean(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
        return (reconstruction + self.beta * kl).mean(), reconstruction.mean()
