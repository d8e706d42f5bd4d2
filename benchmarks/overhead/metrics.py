"""The ten numbers as torchmetrics does it: ``update`` each step, ``compute`` at each check."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from .watchers import CHECK_EVERY, Posteriors, Watcher, moments_of, ten_numbers

_SUMS = ("mean", "square", "variance", "log_variance")


class PosteriorMetric(Metric):
    """Means over samples of the moments that the ten numbers are made of."""

    full_state_update = False

    def __init__(self, units: int) -> None:
        super().__init__()
        for name in _SUMS:
            self.add_state(name, torch.zeros(units), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, mean: Tensor, log_variance: Tensor) -> None:
        """Add a batch."""
        for name, value in moments_of(mean, log_variance).items():
            setattr(self, name, getattr(self, name) + value * len(mean))
        self.count += len(mean)

    def compute(self) -> dict[str, Tensor]:
        """The moments."""
        return {name: getattr(self, name) / self.count for name in _SUMS}


class TorchMetrics(Watcher):
    """One metric a latent and one for the loss; the host reads the ten numbers at each check."""

    def __init__(self) -> None:
        self._metrics: dict[str, PosteriorMetric] = {}
        self._loss = MeanMetric()
        self._steps = 0
        self.numbers: dict[str, dict[str, float]] = {}

    @torch.no_grad()
    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """``update`` of each metric."""
        self._loss.update(reconstruction.detach())
        for name, (mean, log_variance) in posteriors.items():
            if name not in self._metrics:
                self._metrics[name] = PosteriorMetric(mean.shape[1]).to(mean.device)
            self._metrics[name].update(mean.detach(), log_variance.detach())

    def step(self) -> None:
        """``compute`` and ``reset``, when due."""
        self._steps += 1
        if self._steps % CHECK_EVERY:
            return
        loss = self._loss.compute()
        for name, metric in self._metrics.items():
            ten = ten_numbers(metric.compute(), loss)
            self.numbers[name] = {key: value.item() for key, value in ten.items()}
            metric.reset()
        self._loss.reset()
