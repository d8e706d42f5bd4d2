"""One simulated day: an epoch of the sequential set VAE over patients who are each seen once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse_logging import CollapseMonitor, Level
from collapse_logging.training.cohort import patient
from collapse_logging.training.events import Batch, Variables, collate
from collapse_logging.training.seqset import SeqSetVAE
from collapse_logging.writers import MemoryWriter

from ..detection.truth import AGREEING, Truth, measure

HOURS = 24
HELD_OUT = 30
"""Patients on whom the truth is measured; none of them is trained on."""

_SURVEYED = 300
_FAR = 10_000_000
"""Patients from here on are the held-out ones."""


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        name: of its cause.
        what: the cause in a sentence.
        collapses: what is expected of it; the truth is measured.
        settings: of :class:`SeqSetVAE`.
        warmup: of beta, in hours.
        beta_after: beta from ``at`` on; None: it stays.
        at: hour at which it changes.
    """

    name: str
    what: str
    collapses: bool
    settings: dict[str, Any] = field(default_factory=dict)
    warmup: float = 5.0
    beta_after: float | None = None
    at: float = 0.0

    def beta_at(self, hour: float, beta: float) -> float:
        """The weight of the KL at an hour of the day, given the model's own."""
        if self.beta_after is not None and hour >= self.at:
            return self.beta_after
        return beta * min(1.0, hour / self.warmup) if self.warmup else beta


CASES = (
    Case("healthy", "summed loss, beta 0.5 after a warm-up of five hours", False),
    Case(
        "averaged",
        "the reconstruction loss is averaged over events and variables instead of summed; beta 1",
        True,
        {"reduction": "mean", "beta": 1.0},
        warmup=0.0,
    ),
    Case("beta", "beta 10 from the first step, no warm-up", True, {"beta": 10.0}, warmup=0.0),
    Case(
        "shortcut",
        "the decoder can do without z: the set's features reach it past the latent; no warm-up",
        True,
        {"bypass": True},
        warmup=0.0,
    ),
    Case(
        "bypass",
        "the decoder can do without z: the set's features reach it past the latent",
        True,
        {"bypass": True},
    ),
    Case(
        "late",
        "healthy until beta is raised to 10 at hour 12",
        True,
        beta_after=10.0,
        at=12.0,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What was found in one training.

    Attributes:
        case: which one.
        steps: of the whole day.
        first_red: step of the first red check; None if there was none.
        first_false_red: step of a red check before the cause was there; None if there was none.
        truths: on the held-out patients, at the last evaluations.
        seconds: of one core.
    """

    case: Case
    steps: int
    first_red: int | None
    first_false_red: int | None
    truths: tuple[Truth, ...]
    seconds: float

    @property
    def cause_at(self) -> int:
        """Step at which the cause was there."""
        return round(self.case.at / HOURS * self.steps)

    @property
    def hours(self) -> float | None:
        """Hours of the day from the cause to red."""
        if self.first_red is None:
            return None
        return (self.first_red - self.cause_at) / self.steps * HOURS

    @property
    def truth(self) -> str:
        """What the held-out patients say; ``"ambiguous"`` where the last evaluations differ."""
        found = {truth.category for truth in self.truths}
        return found.pop() if len(found) == 1 else "ambiguous"


def day(case: Case, steps: int, seed: int = 0) -> Outcome:
    """Train for a day of so many steps, a new patient each, and watch.

    Args:
        case: what is trained.
        steps: of the day.
        seed: of parameters, noise and patients.
    """
    hour, start = steps / HOURS, time.process_time()
    variables = Variables.of(patient(seed, _FAR + index) for index in range(_SURVEYED))
    held_out = collate([_seen(variables, seed, _FAR + index) for index in range(HELD_OUT)])
    torch.manual_seed(seed)
    model = SeqSetVAE(len(variables.names), **case.settings)
    optimizer = model.configure_optimizers()
    memory, truths = MemoryWriter(), []
    last = {steps - 1 - round(hour * back / 2) for back in range(AGREEING)}
    with CollapseMonitor([memory], rules="fast", verbose=False, strict=True) as monitor:
        monitor.watch(model, {"z": "encoder"})
        for step in range(steps):
            batch = collate([_seen(variables, seed, step)])
            beta = case.beta_at(step / hour, model.beta)
            reconstruction, kl = model(batch)
            optimizer.zero_grad()
            (reconstruction.mean() + beta * kl.mean(0).sum()).backward()
            optimizer.step()
            monitor.step(reconstruction_loss=reconstruction.mean(), beta=beta, step=step)
            if step in last:
                truths.append(truth(model, held_out))
    red = [report.step for report in memory.reports if report.level is Level.RED]
    cause = case.at * hour
    return Outcome(
        case,
        steps,
        next((step for step in red if step >= cause), None),
        next((step for step in red if step < cause or not case.collapses), None),
        tuple(truths),
        time.process_time() - start,
    )


def _seen(variables: Variables, seed: int, index: int) -> Any:
    return variables.numbered(patient(seed, index), index)


@torch.no_grad()
def truth(model: SeqSetVAE, batch: Batch) -> Truth:
    """Mutual information and shuffle gap over the sets of held-out patients.

    The loss is the true likelihood, summed, whatever the training's is; the other sample's z is
    that of a set of another patient, half the sets away.
    """
    generator = torch.get_rng_state()
    features = model.features(batch)
    mean, log_variance = model.encoder(features)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(7))
    z = mean + (0.5 * log_variance).exp() * noise

    def loss(z: Tensor) -> np.ndarray[Any, Any]:
        told = torch.cat([z, features], 1) if model.bypass else z
        return model.decoder(model.course(told, batch), batch).double().numpy()

    own, permuted = loss(z), loss(z.roll(len(z) // 2, 0))
    assert torch.equal(generator, torch.get_rng_state())  # measuring must not touch the training
    return measure(mean.double().numpy(), log_variance.double().numpy(), own, permuted)
