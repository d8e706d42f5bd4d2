"""Small real trainings: a healthy and a collapsing one of each family, and the verdict on both."""

import pytest
import torch
from torch import distributions, nn
from torch.distributions import kl_divergence

from collapse_logging import Level
from collapse_logging.families import Codebook

from .parts import recorded

CLUSTERS, INPUTS = 8, 16


def batch(generator, size=64):
    """Points about eight centres."""
    centres = 3.0 * torch.eye(CLUSTERS).repeat(1, INPUTS // CLUSTERS)
    at = torch.randint(CLUSTERS, (size,), generator=generator)
    return centres[at] + 0.1 * torch.randn(size, INPUTS, generator=generator)


def network(inputs, outputs):
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, outputs))


def trained(latent, steps):
    """The last report of a training of ``latent``, a class with parameters and ``loss``."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = latent()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    monitor, memory = recorded(observe_every=1)
    for _ in range(steps):
        loss = model.loss(batch(generator), monitor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.step()
    return memory.reports


class GumbelSoftmax(nn.Module):
    """Four variables of six classes, with a relaxed sample."""

    def __init__(self, beta):
        super().__init__()
        self.beta = beta
        self.encoder, self.decoder = network(INPUTS, 24), network(24, INPUTS)
        self.prior = distributions.OneHotCategorical(logits=torch.zeros(6))

    def loss(self, x, monitor):
        """Reconstruction and KL."""
        logits = self.encoder(x).view(-1, 4, 6)
        q = distributions.RelaxedOneHotCategorical(torch.tensor(1.0), logits=logits)
        monitor.observe("z", q)
        reconstruction = (self.decoder(q.rsample().flatten(1)) - x).square().sum(1).mean()
        kl = kl_divergence(distributions.OneHotCategorical(logits=q.logits), self.prior)
        return reconstruction + self.beta * kl.sum(1).mean()


class VQ(nn.Module):
    """A codebook, whose codes begin near the encoder's outputs or out of reach."""

    def __init__(self, spread):
        super().__init__()
        self.encoder, self.decoder = network(INPUTS, 4), network(4, INPUTS)
        self.book = nn.Parameter(spread * torch.randn(16, 4))

    def loss(self, x, monitor):
        """Reconstruction, codebook and commitment."""
        encoded = self.encoder(x)
        indices = torch.cdist(encoded, self.book).argmin(1)
        monitor.observe("z", Codebook(indices, len(self.book)))
        code = self.book[indices]
        decoded = self.decoder(encoded + (code - encoded).detach())
        commitment = (encoded - code.detach()).square().sum(1).mean()
        book = (code - encoded.detach()).square().sum(1).mean()
        return (decoded - x).square().sum(1).mean() + book + 0.25 * commitment


class LearnedPrior(nn.Module):
    """A Gaussian latent whose prior's mean and variance are learned."""

    def __init__(self, beta):
        super().__init__()
        self.beta = beta
        self.encoder, self.decoder = network(INPUTS, 8), network(4, INPUTS)
        self.mean, self.log_variance = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))

    def loss(self, x, monitor):
        """Reconstruction and the KL to the learned prior."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        prior = distributions.Normal(self.mean, (0.5 * self.log_variance).exp())
        monitor.observe("z", mean, log_variance, prior=prior)
        scale = (0.5 * log_variance).exp()
        z = mean + scale * torch.randn_like(mean)
        kl = kl_divergence(distributions.Normal(mean, scale), prior).sum(1).mean()
        return (self.decoder(z) - x).square().sum(1).mean() + self.beta * kl


CASES = [
    pytest.param(lambda: GumbelSoftmax(1.0), lambda: GumbelSoftmax(60.0), id="categorical"),
    pytest.param(lambda: VQ(1.0), lambda: VQ(30.0), id="codebook"),
    pytest.param(lambda: LearnedPrior(1.0), lambda: LearnedPrior(100.0), id="learned prior"),
]


@pytest.mark.parametrize(("healthy", "collapsing"), CASES)
def test_a_collapse_is_red_and_health_is_not(healthy, collapsing):
    """Without a setting of any kind."""
    levels = [report.level for report in trained(healthy, 250)]
    assert max(levels) < Level.ORANGE
    assert levels[-1] is Level.OK
    reports = trained(collapsing, 400)
    assert reports[-1].level is Level.RED
    assert any(alert.level is Level.RED for report in reports for alert in report.alerts)
