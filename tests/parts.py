"""Small models and streams of posteriors that several test files train and observe."""

import logging

import numpy as np
import torch
from torch import nn

from collapse_logging import CollapseMonitor
from collapse_logging.writers import MemoryWriter


class Encoder(nn.Module):
    """Returns ``(mean, log_variance)``."""

    def __init__(self, inputs=6, units=3):
        super().__init__()
        self.moments = nn.Linear(inputs, 2 * units)

    def forward(self, x):
        return self.moments(x).chunk(2, -1)


class VAE(nn.Module):
    """A plain VAE; returns ``(reconstruction, mean, log_variance)``."""

    def __init__(self, inputs=6, units=3):
        super().__init__()
        self.encoder = Encoder(inputs, units)
        self.decoder = nn.Linear(units, inputs)

    def forward(self, x):
        mean, log_variance = self.encoder(x)
        return self.decoder(sampled(mean, log_variance)), mean, log_variance


class CalledTwice(VAE):
    """Its encoder is called twice in a forward."""

    def forward(self, x):
        return self.decoder(self.encoder(x)[0] - self.encoder(-x)[0])


class Twin(nn.Module):
    """Two encoders, and a decoder that reads both."""

    def __init__(self):
        super().__init__()
        self.encoder_a, self.encoder_b = Encoder(), Encoder()
        self.decoder = nn.Linear(3, 6)

    def forward(self, x):
        a, b = self.encoder_a(x), self.encoder_b(x)
        return self.decoder(a[0] + b[0]), a[0] + b[0], a[1] + b[1]


def sampled(mean, log_variance):
    """A reparametrised sample."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def losses(x, reconstruction, mean, log_variance):
    """Reconstruction loss and KL, means over the batch."""
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1).mean()
    return ((reconstruction - x) ** 2).sum(-1).mean(), kl


def train(model, monitor, steps=1, batch=4, observe=False, scale=1.0, seed=0):
    """The plain loop; returns what ``monitor.step`` returned, step by step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(seed)
    reports = []
    for _ in range(steps):
        x = torch.randn(batch, 6, generator=generator)
        reconstruction, mean, log_variance = model(x)
        if observe:
            monitor.observe("z", mean, log_variance)
        recon, kl = losses(x, reconstruction, mean, log_variance)
        optimizer.zero_grad()
        (scale * (recon + kl)).backward()
        if scale == 1.0:
            optimizer.step()
        reports.append(monitor.step(reconstruction_loss=recon) if monitor else None)
    return reports


def steps(model, monitor, count=2, batch=4):
    """Training steps on whatever the model returns."""
    for _ in range(count):
        out = model(torch.randn(batch, 6))
        out = out["x"] if isinstance(out, dict) else out
        sum((part**2).mean() for part in (out if isinstance(out, tuple) else [out])).backward()
        monitor.step()


def recorded(**settings):
    """A strict monitor and the memory that it writes to."""
    memory = MemoryWriter()
    settings = {"verbose": False, "strict": True, **settings}
    return CollapseMonitor(writers=[memory], **settings), memory


def gaussian(shape, seed=0, spread=1.0, log_variance=-1.0, dtype=torch.float32):
    """A batch of posterior parameters: the means spread about 0.3."""
    generator = torch.Generator().manual_seed(seed)
    mean = 0.3 + spread * torch.randn(shape, generator=generator)
    log_variance = log_variance + 0.3 * torch.randn(shape, generator=generator)
    return mean.to(dtype), log_variance.to(dtype)


def pulled_step(monitor, seed, spread=1.0, log_variance=-2.0, loss=1.0):
    """One training step whose loss shrinks the means."""
    mean, log_variance = gaussian((16, 4), seed, spread, log_variance)
    mean.requires_grad_()
    monitor.observe("z", mean, log_variance)
    (0.5 * mean**2).sum().backward()
    return monitor.step(reconstruction_loss=loss)


def healthy_then_collapsing(monitor, healthy, collapsing, start=0):
    """Steps of a live latent, then of one that is at the prior and kept there."""
    for seed in range(start, start + healthy):
        pulled_step(monitor, seed)
    for seed in range(start + healthy, start + healthy + collapsing):
        pulled_step(monitor, seed, spread=0.01, log_variance=0.0)


def samples(memory, name="z"):
    """Samples of a latent over all reports."""
    return sum(report.latents[name].measures["samples"] for report in memory.reports)


def warnings_in(caplog):
    """Messages of our own logger at warning and above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "collapse_logging" and record.levelno >= logging.WARNING
    ]


def joined(batches):
    """Batches of torch tensors as one float64 array."""
    return np.concatenate([batch.detach().double().numpy() for batch in batches])
