"""A set encoder: a batch is one subject, seen several times with noise (batch size 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..cases import Case
from .base import Batch, Posteriors
from .digits import Digits, mlp

_NOISE = 0.3


class _SetNet(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        units, hidden = case["units"], case["hidden"]
        self.body = nn.Sequential(nn.Linear(64, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, units)
        self.log_variance = nn.Linear(hidden, units)
        self.decoder = mlp(units, hidden, 64)


class Sets(Digits):
    """A subject is a digit; its visits are noisy copies; z is one for the whole set."""

    def build(self) -> None:
        """Held-out visits are drawn once."""
        super().build()
        self.held_out = {"x": self._visits(self.held_out["x"])}

    def net(self) -> nn.Module:
        """Visits are encoded alone and averaged."""
        return _SetNet(self.case)

    def _visits(self, subjects: Tensor) -> Tensor:
        shape = (len(subjects), self.case["visits"], 64)
        noise = torch.randn(shape, generator=self.data_generator)
        return subjects.unsqueeze(1) + _NOISE * noise

    def next_batch(self) -> Batch:
        """``batch`` subjects (one), ``[batch, visits, 64]``."""
        return {"x": self._visits(super().next_batch()["x"])}

    def posteriors(self, batch: Batch) -> Posteriors:
        """One posterior a subject."""
        h = self.model.body(batch["x"]).mean(1)
        return {"z": (self.model.mean(h), self.model.log_variance(h))}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """Squared error of all visits over 2 sigma^2."""
        out = self.model.decoder(z["z"]).unsqueeze(1)
        return 0.5 * (out - batch["x"]).square().sum((1, 2)) / self.case["sigma"] ** 2
