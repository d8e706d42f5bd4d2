"""What is gathered between two checks, on the training device.

``latents.observe`` keeps handles only; ``end_step`` turns them into a few fused updates after
backward, when the gradients are there; ``pack`` gives the whole window as one vector. Nothing
here waits for the device, and no tensor of the user's is kept beyond the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from .arguments import checked_count
from .budget import Budget
from .family import Family
from .gathered import Gathered
from .given import observed
from .handshake import world
from .latents import Latents
from .losses import Losses, of_32_bits
from .pairs import mutual_information
from .posterior import Posterior
from .priors import PriorLike
from .rows import Shape
from .schedule import Frequency, steps_of_window
from .snapshot import Layout

_PAIRS_EVERY = 250
"""Steps from one reading of the mutual information to the next, at least: it compares all samples
of a batch with each other, and would cost a third of a check."""


class Window:
    """Gathers all latents and the reconstruction loss of the steps since the last check.

    Args:
        frequency: steps that a window has; or a schedule.
        observe_every: every which step is observed; None: as the budget chooses.
        max_rows: rows of a batch that are read at most; None: all.

    Raises:
        TypeError, ValueError: ``max_rows`` is not a count.

    Attributes:
        frequency: steps that this window has.
        budget: measures the own time.
        steps: optimiser steps since the last check.
        latents: what was observed of each latent.
        probed: each latent's decoder gap and its error, ``[2]`` in nats, if the decoder was
            probed for the check to come.
    """

    def __init__(
        self, frequency: Frequency, observe_every: int | None = None, max_rows: int | None = None
    ) -> None:
        self.frequency = steps_of_window(frequency, after=0)
        self._schedule = frequency
        self.budget = Budget(observe_every)
        self.steps = 0
        self.latents = Latents(checked_count("max_rows", max_rows))
        self.probed: Mapping[str, Tensor] = {}
        self._losses = Losses()
        self._beta: Tensor | float = math.nan
        self._generator: torch.Generator | None = None
        self._packed = self._until_pairs = 0

    @property
    def observes(self) -> bool:
        """Whether this step is observed: every k-th, counted back from the check."""
        return self.unobserved == 0

    @property
    def unobserved(self) -> int:
        """How many steps there are until the next that is observed."""
        return (self.frequency - self.steps - 1) % (self.budget.chosen or 1)

    @property
    def full(self) -> bool:
        """Whether it has the steps of a check."""
        return self.steps >= self.frequency

    def observe(
        self,
        name: str,
        given: Tensor | Distribution | Family,
        log_variance: Tensor | None,
        mask: Tensor | None,
        prior: PriorLike,
    ) -> None:
        """What the user says of a batch; in a step that is not observed nothing is looked at."""
        if self.observes:
            with self.budget:
                posterior = observed(name, given, log_variance, mask, prior)
                self.latents.observe(name, posterior, mask)

    def take(self, name: str, posterior: Posterior | Family) -> None:
        """What a hook saw of a batch."""
        with self.budget:
            if self.observes:
                self.latents.observe(name, posterior)

    def grow(self, name: str, growth: Tensor) -> None:
        """What a compiled graph summed up of a batch's growth, ``[units]``."""
        with self.budget:
            if self.observes:
                self.latents.grow(name, growth)

    def end_step(
        self, loss: Tensor | float | None = None, beta: Tensor | float | None = None
    ) -> None:
        """Close an optimiser step; if it is observed, update all sums, note the loss and beta."""
        observed, before = self.observes, self.steps
        self.steps += 1  # first: it counts even where we fail
        if not observed:
            return
        if self.budget.rows and self.latents.max_rows:  # None: the user wants all
            self.latents.max_rows = min(self.budget.rows, self.latents.max_rows)
        self.latents.end_step()
        if loss is not None:
            if isinstance(loss, Tensor):
                device: torch.device | None = loss.device
            else:
                device = self.latents.device
            self._losses.note(loss, before, self.frequency, device or torch.device("cpu"))
        if beta is None:
            self._beta = math.nan
        else:
            self._beta = beta.detach() if isinstance(beta, Tensor) else of_32_bits(beta)

    def pack(self) -> tuple[Tensor, Layout]:
        """The window as one fp32 vector on the device, and how to read it; uses up ``probed``."""
        plain, device = self.latents.plain, self.latents.device
        parts = [plain.table.reshape(-1), plain.totals.reshape(-1)]
        shapes: dict[str, Shape | None] = {}
        extras = self.extras()
        for name, gathered in self.latents:
            own = gathered.statistics
            shapes[name] = None if own is None else own.shape
            parts += [] if own is None else [own.pack()]
            parts += extras[name]
        losses = self._losses.first(self.steps)
        parts += [] if losses is None else [losses]
        parts.append(self.beta)
        vector = torch.cat([part.to(device, torch.float32) for part in parts])
        return vector, Layout(shapes, dict(plain.parts), 0 if losses is None else losses.numel())

    def extras(self) -> dict[str, list[Tensor]]:
        """By latent its values of :data:`~.snapshot.EXTRAS` in pairs; uses up ``probed``."""
        self._packed += 1
        self._until_pairs -= self.steps
        due, unknown = self._until_pairs <= 0, self._number(math.nan, 2)
        probed, self.probed = self.probed, {}
        return {
            name: [
                self._mutual_information(gathered, unknown) if due else unknown,
                probed.get(name, unknown),
            ]
            for name, gathered in self.latents
        }

    @property
    def beta(self) -> Tensor:
        """Weight of the KL at the last step, ``[1]``, NaN where it was not told."""
        beta = self._beta
        return beta.reshape(1) if isinstance(beta, Tensor) else self._number(beta)

    @property
    def losses(self) -> Tensor:
        """The reconstruction loss of each step, ``[steps]``, NaN where none was given."""
        losses = self._losses.first(self.steps)
        if losses is None:
            return self._number(math.nan, self.steps)
        return torch.nn.functional.pad(losses, (0, self.steps - losses.numel()), value=math.nan)

    def reset(self, step: int = 0) -> None:
        """Start the next window, after this training step."""
        self.latents.reset()
        self._losses.reset()
        self.steps = 0
        self.follow(self._schedule, step)

    def follow(self, schedule: Frequency, step: int) -> None:
        """Have so many steps in a window, this one and the next, at this training step."""
        self._schedule, before = schedule, self.frequency
        self.frequency = steps_of_window(schedule, step - self.steps)
        if self.frequency != before:
            self.budget.choose_again()

    def forget(self) -> None:
        """Leave out all that was gathered in this window, but the count of its steps."""
        self.latents.forget()
        self._losses, self._beta = Losses(), math.nan

    def state_dict(self) -> dict[str, Any]:
        """The open window as plain values and tensors."""
        return {
            "steps": self.steps,
            "packed": self._packed,
            "until_pairs": self._until_pairs,
            "observe_every": self.budget.chosen,
            "max_rows": self.budget.rows,
            "beta": float(self._beta),
            "losses": self._losses.state(),
            **self.latents.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], rank: int, step: int) -> None:
        """Continue a window; tensors move to the model's device when it is next observed.

        Args:
            state: of :meth:`state_dict`.
            rank: whose it is; if not this process's, only the steps are counted on.
            step: training step at which it was taken.
        """
        self.steps = int(state["steps"])
        self.follow(self._schedule, step)
        self._packed, self._until_pairs = int(state["packed"]), int(state["until_pairs"])
        self.budget.restore(state["observe_every"], state["max_rows"])
        if rank == world()[0]:
            self._beta = float(state["beta"])
            self._losses.load(state["losses"])
            self.latents.load_state_dict(state)

    def _number(self, value: float, times: int = 1) -> Tensor:
        """A number as a tensor that is made on the device: a check copies once."""
        return torch.full((times,), value, device=self.latents.device)

    def _mutual_information(self, gathered: Gathered, unknown: Tensor) -> Tensor:
        last = gathered.last
        if not isinstance(last, Posterior) or last.mean.shape[0] < 2:
            return unknown
        self._until_pairs = _PAIRS_EVERY  # only now: a window of masked batches has none to read
        device = last.mean.device
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device)
        self._generator.manual_seed(self._packed)  # so that a resumed run draws the same
        return mutual_information(last, self._generator)
