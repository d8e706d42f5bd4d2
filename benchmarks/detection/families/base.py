"""What every family shares: one training with a uniform small interface.

A family says how a batch becomes posteriors and how a sample's loss is computed from z; the
loop, the schedule of beta, the optimiser and the held-out evaluation are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..cases import Case
from .schedules import beta_at

Posteriors = dict[str, tuple[Tensor, Tensor]]
"""Per latent its mean and log variance, as the model gives them."""

Observe = Callable[[str, Tensor, Tensor], None]
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """What one training step gives: detached posteriors, the step's reconstruction loss, beta."""

    posteriors: list[Posteriors]
    reconstruction: Tensor
    beta: float


@dataclass(frozen=True)
class HeldOut:
    """One latent on the held-out rows; losses in nats, ``[rows]``, summed over a sample.

    Attributes:
        mean: ``[rows, cells]``.
        log_variance: ``[rows, cells]``.
        loss: with the sample's own z.
        permuted: with another sample's z for this latent.
    """

    mean: Tensor
    log_variance: Tensor
    loss: Tensor
    permuted: Tensor


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL to N(0, 1) by unit, nats, in the shape of ``mean``."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)


class Run(ABC):
    """One training of one case.

    Subclasses build ``self.model`` and ``self.held_out`` in :meth:`build` and define the three
    abstract methods. All random numbers come from the global stream, seeded once, except those
    of the held-out evaluation.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.data_generator = torch.Generator().manual_seed(1000 + case.seed)
        torch.manual_seed(case.seed)
        self.model: nn.Module
        self.held_out: Batch
        self.build()
        self.optimizer = make_optimizer(case, self.model)

    @abstractmethod
    def build(self) -> None:
        """Set ``model`` and ``held_out`` (a batch of 400 rows or more)."""

    @abstractmethod
    def next_batch(self) -> Batch:
        """The next training batch."""

    @abstractmethod
    def posteriors(self, batch: Batch) -> Posteriors:
        """Per latent the posterior of a batch."""

    @abstractmethod
    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """Reconstruction loss of each sample, the true likelihood in nats, ``[rows]``."""

    def regularizer(self, batch: Batch, posteriors: Posteriors, z: dict[str, Tensor]) -> Tensor:
        """KL of a batch, nats a sample, scalar; families with other priors override it."""
        kls = [gaussian_kl(m, lv).flatten(1).sum(1).mean() for m, lv in posteriors.values()]
        return torch.stack(kls).sum()

    def extra_loss(self, batch: Batch, posteriors: Posteriors) -> Tensor | float:
        """Anything else that the model is trained on."""
        return 0.0

    def loss(self, reconstruction: Tensor, kl: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Training loss and its reconstruction part as the user would log it."""
        parts = reconstruction.mean()
        if self.case["reduction"] == "mean":
            parts = parts / self.case["dimensions"]
        if self.case["reduction"] == "batch_sum":
            rows = reconstruction.shape[0]
            return rows * (parts + beta * kl), rows * parts
        if self.case["reduction"] == "mean_mean":
            parts = parts / self.case["dimensions"]
            kl = kl / self.case["units"]
        return parts + beta * kl, parts

    def train_step(self, step: int, observe: Observe) -> Step:
        """One optimiser step: forward, observe, backward, step."""
        self.optimizer.zero_grad(set_to_none=True)
        beta, seen, losses = beta_at(self.case, step), [], []
        count = self.case["accumulate"]
        for _ in range(count):
            batch = self.next_batch()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.case["precision"] == "bf16"):
                posteriors = self.posteriors(batch)
                for name, (mean, log_variance) in posteriors.items():
                    observe(name, mean, log_variance)
                z = {n: draw(*p, torch.default_generator) for n, p in posteriors.items()}
                per_sample = self.sample_loss(batch, z)
            kl = self.regularizer(batch, posteriors, z)
            loss, part = self.loss(per_sample.float(), kl, beta)
            loss = loss + self.extra_loss(batch, posteriors)
            (loss / count).backward()
            seen.append({n: (m.detach(), lv.detach()) for n, (m, lv) in posteriors.items()})
            losses.append(part.detach())
        self.optimizer.step()
        self.last_batch = batch
        return Step(seen, torch.stack(losses).mean(), beta)

    @torch.no_grad()
    def per_sample_loss(
        self, batch: Batch, permute: str | None, generator: torch.Generator
    ) -> tuple[Posteriors, Tensor]:
        """Posteriors and loss of each sample, with one latent's z deranged by a roll."""
        posteriors = self.posteriors(batch)
        z = {name: draw(*p, generator) for name, p in posteriors.items()}
        if permute is not None:
            z[permute] = z[permute].roll(1, 0)
        return posteriors, self.sample_loss(batch, z).float()

    def evaluate(self) -> dict[str, HeldOut]:
        """Each latent on the held-out rows; neither weights nor random stream are touched."""
        self.model.eval()
        try:
            return {name: self._held_out(self.held_out, name) for name in self.case["latents"]}
        finally:
            self.model.train()

    def probe(self) -> dict[str, tuple[float, float]]:
        """Paired shuffle gap and its standard error on the last training batch, by latent."""
        found = {}
        for name in self.case["latents"]:
            held = self._held_out(self.last_batch, name)
            gap = (held.permuted - held.loss).double()
            error = gap.std().item() / len(gap) ** 0.5 if len(gap) > 1 else float("nan")
            found[name] = (gap.mean().item() if len(gap) > 1 else float("nan"), error)
        return found

    def _held_out(self, batch: Batch, name: str) -> HeldOut:
        posteriors, loss = self.per_sample_loss(batch, None, torch.Generator().manual_seed(7))
        _, permuted = self.per_sample_loss(batch, name, torch.Generator().manual_seed(7))
        mean, log_variance = (t.detach().flatten(1) for t in posteriors[name])
        return HeldOut(mean, log_variance, loss, permuted)


def draw(mean: Tensor, log_variance: Tensor, generator: Any) -> Tensor:
    """A sample of z by the reparametrisation, in the posterior's shape and type."""
    noise = torch.randn(mean.shape, generator=generator).to(mean.dtype)
    return mean + (0.5 * log_variance).exp() * noise


def make_optimizer(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with momentum; weight decay spares the biases."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": case["weight_decay"]},
        {"params": biases, "weight_decay": 0.0},
    ]
    rate = case["learning_rate"]
    if case["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=case["momentum"])
    if case["optimizer"] == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    return torch.optim.Adam(groups, lr=rate)
