"""The training that is watched: a VAE with one latent or several, 5 to 100 ms a step."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Block, Stopwatch
from .watchers import Posteriors, Watcher

_INPUTS = 784
_SOURCES = 16
_BATCHES = 8


@dataclass(frozen=True)
class Size:
    """Size of a training.

    Attributes:
        batch: samples a step.
        units: units of each latent.
        latents: how many there are.
        hidden: width of the layers between.
    """

    batch: int
    units: int
    latents: int
    hidden: int = 128


class Model(nn.Module):
    """One body, a head for each latent, one decoder that reads all of them."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        hidden, units = size.hidden, size.units
        self.body = nn.Sequential(
            nn.Linear(_INPUTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(hidden, 2 * units) for _ in range(size.latents))
        self.decoder = nn.Sequential(
            nn.Linear(size.latents * units, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, _INPUTS),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Posteriors]:
        """Loss, reconstruction loss and the posteriors by name; ``x`` is ``[batch, 784]``."""
        h = self.body(x)
        posteriors = {f"z{i}": head(h).chunk(2, -1) for i, head in enumerate(self.heads)}
        means = torch.cat([mean for mean, _ in posteriors.values()], -1)
        log_variances = torch.cat([both for _, both in posteriors.values()], -1)
        z = means + (0.5 * log_variances).exp() * torch.randn_like(means)
        logits = self.decoder(z)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        kl = 0.5 * (means.square() + log_variances.exp() - 1.0 - log_variances).sum(1).mean()
        return reconstruction + kl, reconstruction, posteriors


def batches(size: Size, device: str = "cpu") -> list[Tensor]:
    """Eight batches that come round again: pixels' probabilities from sixteen sources."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(_SOURCES, _INPUTS, generator=generator)
    sources = torch.randn(_BATCHES * size.batch, _SOURCES, generator=generator)
    return list(torch.sigmoid(sources @ weights).to(device).split(size.batch))


class Training:
    """A model, its optimiser and its data; whoever watches is changed from block to block."""

    def __init__(self, size: Size, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.device = torch.device(device)
        self.model = Model(size).to(device)
        self.forward = self.model
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.data = batches(size, device)
        self.steps = 0

    def step(self, watcher: Watcher, spent: Stopwatch) -> None:
        """One step; the watcher's own calls are timed."""
        x = self.data[self.steps % len(self.data)]
        self.steps += 1
        loss, reconstruction, posteriors = self.forward(x)
        with spent:
            watcher.observe(posteriors, reconstruction)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with spent:
            watcher.step()

    def block(self, watcher: Watcher, steps: int) -> Block:
        """So many steps under one watcher."""
        self.wait()
        spent = Stopwatch()
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step(watcher, spent)
        self.wait()
        whole = time.perf_counter() - wall, time.process_time() - processor
        return Block(*whole, spent.wall, spent.processor)

    def wait(self) -> None:
        """Until the device has done all."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
