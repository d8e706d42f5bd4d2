"""Two stochastic layers, ``top`` and ``bottom``; one may die alone (Sonderby et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..cases import Case
from .base import Batch, Observe, Posteriors, Step, gaussian_kl
from .digits import Digits, mlp
from .schedules import beta_at


class _HierarchyNet(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        units, hidden = case["units"], case["hidden"]
        self.body = nn.Sequential(nn.Linear(64, hidden), nn.ReLU())
        self.bottom = nn.Linear(hidden, 2 * units)
        self.top = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * units))
        self.prior = mlp(units, hidden, 2 * units)
        self.decoder = mlp(units if case["chain"] else 2 * units, hidden, 64)


class Hierarchy(Digits):
    """A chain ``p(top) p(bottom | top) p(x | bottom)``, or both layers seen by the decoder.

    The loss of a sample in a chain includes KL(q(bottom) || p(bottom | top)): what the layer
    above explains of the layer below is what it is there for, and permuting it shows there.
    """

    def net(self) -> nn.Module:
        """Bottom-up encoder, top-down decoder."""
        return _HierarchyNet(self.case)

    def posteriors(self, batch: Batch) -> Posteriors:
        """Both layers from x."""
        h = self.model.body(batch["x"])
        heads = {"bottom": self.model.bottom(h), "top": self.model.top(h)}
        return {name: both.chunk(2, -1) for name, both in heads.items()}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """-ln p(x given z), and in a chain the KL of the bottom layer given the top one."""
        if not self.case["chain"]:
            both = torch.cat([z["bottom"], z["top"]], -1)
            return self.likelihood(self.model.decoder(both), batch["x"])
        loss = self.likelihood(self.model.decoder(z["bottom"]), batch["x"])
        prior_mean, prior_lv = self.model.prior(z["top"]).chunk(2, -1)
        prior_lv = 4.0 * torch.tanh(prior_lv / 4.0)
        mean, log_variance = self.posteriors(batch)["bottom"]
        square = ((mean - prior_mean).square() + log_variance.exp()) * (-prior_lv).exp()
        return loss + 0.5 * (square - 1.0 - log_variance + prior_lv).sum(1)

    def regularizer(self, batch: Batch, posteriors: Posteriors, z: dict[str, Tensor]) -> Tensor:
        """KL of each layer to N(0, 1) with weights of their own; a chain has the top one left.

        The weights are relative: the base class multiplies by the scheduled beta.
        """
        top = gaussian_kl(*posteriors["top"]).sum(1).mean()
        if self.case["chain"]:
            return self.case["weight_top"] * top
        bottom = gaussian_kl(*posteriors["bottom"]).sum(1).mean()
        return self.case["weight_top"] * top + self.case["weight_bottom"] * bottom


class Late(Hierarchy):
    """As the hierarchy, but the schedule of beta weighs the top layer alone."""

    def train_step(self, step: int, observe: Observe) -> Step:
        """Remember the step, for the schedule."""
        self.step = step
        return super().train_step(step, observe)

    def regularizer(self, batch: Batch, posteriors: Posteriors, z: dict[str, Tensor]) -> Tensor:
        """The bottom layer's weight is held at 1 whatever beta is."""
        beta = max(beta_at(self.case, self.step), 1e-6)
        kls = {n: gaussian_kl(*p).sum(1).mean() for n, p in posteriors.items()}
        return kls["top"] + self.case["weight_bottom"] * kls["bottom"] / beta
