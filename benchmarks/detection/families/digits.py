"""MLP VAEs on the 8 x 8 digits: most families are settings of this one."""

from __future__ import annotations

import functools

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from ..cases import Case
from .base import Batch, Posteriors, Run, gaussian_kl

_HELD_OUT = 450


@functools.cache
def split_digits() -> tuple[Batch, Batch]:
    """Training rows (1,347) and held-out rows (450): pixels in 0 to 1 and labels, shuffled once."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x = torch.tensor(bunch.data[order] / 16.0, dtype=torch.float32)
    label = torch.tensor(bunch.target[order])
    cut = len(x) - _HELD_OUT
    return {"x": x[:cut], "label": label[:cut]}, {"x": x[cut:], "label": label[cut:]}


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Net(nn.Module):
    """Encoder with two heads, decoder, and the parts that some variants add."""

    def __init__(self, case: Case, inputs: int) -> None:
        super().__init__()
        units, hidden = case["units"], case["hidden"]
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, units)
        self.log_variance = nn.Linear(hidden, units)
        extra = {"none": 0, "input": inputs, "label": 10}[case["decoder_sees"]]
        self.decoder = mlp(units + extra, hidden, inputs)
        nn.init.constant_(self.mean.bias, case["offset"])
        if case["normalize"]:
            self.norm = nn.BatchNorm1d(units)
            self.norm.weight.requires_grad_(False).fill_(case["normalize"])
        if case["classifier"]:
            self.classifier = nn.Linear(units, 10)
        if case["prior"] == "learned":
            self.prior_mean = nn.Parameter(0.5 * torch.randn(units))
            self.prior_log_variance = nn.Parameter(torch.zeros(units) - 1.0)
        if case["prior"] == "label":
            self.prior = nn.Linear(10, 2 * units)


class Digits(Run):
    """A VAE on digits; see the settings in ``cases``."""

    def build(self) -> None:
        """The two halves of the data and the network."""
        self.train, self.held_out = split_digits()
        self.model = self.net()

    def net(self) -> nn.Module:
        """The network; the convolutional family has another."""
        return Net(self.case, self.train["x"].shape[1])

    def next_batch(self) -> Batch:
        """Random rows with replacement."""
        size = (self.case["batch"],)
        rows = torch.randint(len(self.train["x"]), size, generator=self.data_generator)
        return {name: values[rows] for name, values in self.train.items()}

    def posteriors(self, batch: Batch) -> Posteriors:
        """The one latent ``z``."""
        h = self.model.body(batch["x"])
        mean, log_variance = self.model.mean(h), self.model.log_variance(h)
        if self.case["normalize"]:
            mean = self.model.norm(mean)
        if self.case["fixed_variance"]:
            log_variance = torch.full_like(mean, float(np.log(self.case["fixed_variance"])))
        return {"z": (mean, log_variance)}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """-ln p(x given z) in nats, less the constant of the Gaussian."""
        parts = [z["z"]]
        if self.case["decoder_sees"] == "input":
            parts.append(batch["x"].to(z["z"].dtype))
        if self.case["decoder_sees"] == "label":
            parts.append(F.one_hot(batch["label"], 10).to(z["z"].dtype))
        return self.likelihood(self.model.decoder(torch.cat(parts, -1)), batch["x"])

    def likelihood(self, out: Tensor, x: Tensor) -> Tensor:
        """Bernoulli with logits, or Gaussian with a fixed noise."""
        out = out.float()
        if self.case["likelihood"] == "bernoulli":
            return F.binary_cross_entropy_with_logits(out, x, reduction="none").sum(1)
        return 0.5 * (out - x).square().sum(1) / self.case["sigma"] ** 2

    def regularizer(self, batch: Batch, posteriors: Posteriors, z: dict[str, Tensor]) -> Tensor:
        """KL to the case's prior, with free bits if it has any."""
        mean, log_variance = (t.float() for t in posteriors["z"])
        if self.case["prior"] == "none":
            per_unit = gaussian_kl(mean, log_variance)
        else:
            per_unit = self._prior_kl(batch, mean, log_variance)
        floor, kind = self.case["free_bits"], self.case["free_bits_kind"]
        if floor and kind == "unit":
            return per_unit.mean(0).clamp(min=floor).sum()
        if floor:
            return per_unit.sum(1).mean().clamp(min=floor)
        return per_unit.sum(1).mean()

    def _prior_kl(self, batch: Batch, mean: Tensor, log_variance: Tensor) -> Tensor:
        if self.case["prior"] == "learned":
            prior_mean, prior_lv = self.model.prior_mean, self.model.prior_log_variance
        else:
            both = self.model.prior(F.one_hot(batch["label"], 10).float())
            prior_mean, prior_lv = both.chunk(2, -1)
        scale = (-prior_lv).exp()
        square = ((mean - prior_mean).square() + log_variance.exp()) * scale
        return 0.5 * (square - 1.0 - log_variance + prior_lv)

    def extra_loss(self, batch: Batch, posteriors: Posteriors) -> Tensor | float:
        """Cross entropy of the label from the posterior's mean, where the case asks for it."""
        if not self.case["classifier"]:
            return 0.0
        logits = self.model.classifier(posteriors["z"][0].float())
        return self.case["classifier"] * F.cross_entropy(logits, batch["label"])
