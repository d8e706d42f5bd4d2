"""MLP VAEs on a table of measurements (569 tumours, 30 features), never used for calibration."""

from __future__ import annotations

import functools

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from ..cases import Case
from .base import Batch, Posteriors
from .digits import Digits

_HELD_OUT = 160
_REPEATS = 3
"""The held-out rows are evaluated several times over, so that the truth has 480."""


@functools.cache
def split_table() -> tuple[Batch, Batch]:
    """Standardised training rows (409) and held-out rows (160, three times), shuffled once."""
    data = load_breast_cancer().data
    data = data[np.random.default_rng(0).permutation(len(data))]
    cut = len(data) - _HELD_OUT
    x = torch.tensor((data - data[:cut].mean(0)) / data[:cut].std(0), dtype=torch.float32)
    return {"x": x[:cut]}, {"x": x[cut:].repeat(_REPEATS, 1)}


class _DeepNet(nn.Module):
    """Three tanh layers either way; one head gives both moments."""

    def __init__(self, case: Case, inputs: int) -> None:
        super().__init__()
        units, hidden = case["units"], case["hidden"]
        self.body = nn.Sequential(
            nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.moments = nn.Linear(hidden, 2 * units)
        self.decoder = nn.Sequential(
            nn.Linear(units, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, inputs),
        )


class Deep(Digits):
    """Digits, with a deeper network of another activation."""

    def net(self) -> nn.Module:
        """The deeper network."""
        return _DeepNet(self.case, self.train["x"].shape[1])

    def posteriors(self, batch: Batch) -> Posteriors:
        """The one latent ``z``, both moments from one head."""
        mean, log_variance = self.model.moments(self.model.body(batch["x"])).chunk(2, -1)
        return {"z": (mean, log_variance)}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """-ln p(x given z) in nats, less the constant of the Gaussian."""
        return self.likelihood(self.model.decoder(z["z"]), batch["x"])


class Tabular(Deep):
    """The same network on the table."""

    def build(self) -> None:
        """The table in place of the digits."""
        self.train, self.held_out = split_table()
        self.model = self.net()
