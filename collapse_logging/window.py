"""What is gathered between two checks, on the training device.

``observe`` keeps handles only; ``end_step`` turns them into a few fused updates after backward,
when the gradients are there; ``pack`` gives the whole window as one vector. Nothing here waits
for the device, and no tensor of the user's is kept beyond the step.
"""

from __future__ import annotations

import logging
import math
import numbers
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .pairs import mutual_information
from .posterior import Posterior
from .rows import Shape
from .snapshot import Layout
from .statistics import Statistics

_MOST_PENDING = 16
_log = logging.getLogger("collapse_logging")


@dataclass(eq=False)  # tensors cannot be compared
class _Observation:
    posterior: Posterior
    mask: Tensor | None
    version: tuple[int, int]
    source: weakref.ref[Tensor]
    gradient: Tensor | None = None
    hook: RemovableHandle | None = None

    def keep_gradient(self, gradient: Tensor | None) -> None:
        """Tensor hook: dL/d mean arrives in backward; a second backward adds to it."""
        if gradient is None:  # compiled backward, where the loss does not reach the mean
            return
        gradient = gradient.detach()
        self.gradient = gradient if self.gradient is None else self.gradient + gradient


@dataclass
class _Gathered:
    """One latent: its sums, what waits for its gradient, the last batch for the check."""

    statistics: Statistics
    pending: list[_Observation] = field(default_factory=list)
    last: Posterior | None = None


class Window:
    """Gathers all latents and the reconstruction loss of the steps since the last check."""

    def __init__(self) -> None:
        self.steps = 0
        self._latents: dict[str, _Gathered] = {}
        self.probed: Mapping[str, Tensor] = {}
        self._losses: Tensor | None = None
        self._beta: Tensor | float = math.nan
        self._generator: torch.Generator | None = None
        self._packed = 0
        self._warned: set[str] = set()

    @property
    def device(self) -> torch.device | None:
        """The device of the first latent, None before any was observed."""
        return next((g.statistics.device for g in self._latents.values()), None)

    def observe(self, name: str, posterior: Posterior, mask: Tensor | None = None) -> None:
        """Keep a handle on one batch and ask autograd for the gradient of its mean."""
        mean, log_variance = posterior.mean, posterior.log_variance
        gathered = self._gathered(name, posterior)
        if any(o.source() is mean for o in gathered.pending):
            self._warn(
                f"latent {name!r} was observed twice in one step and counts once. Leave out "
                "monitor.observe or monitor.watch, or give the two latents different names."
            )
            return
        handle = Posterior(mean.detach(), log_variance.detach())
        observation = _Observation(handle, mask, _versions(handle), weakref.ref(mean))
        if mean.requires_grad:
            observation.hook = mean.register_hook(observation.keep_gradient)  # type: ignore[no-untyped-call]
        ready = [o for o in gathered.pending if o.gradient is not None]
        if ready or len(gathered.pending) >= _MOST_PENDING:  # micro-batches: do not pile up
            self._absorb(name, gathered, ready or list(gathered.pending))
        gathered.pending.append(observation)

    def grow(self, name: str, growth: Tensor) -> None:
        """Add a micro-batch's growth, ``[units]``, that a compiled graph has summed up itself."""
        if name in self._latents:
            self._latents[name].statistics.add_own_growth(growth)

    def end_step(
        self, loss: Tensor | float | None, frequency: int, beta: Tensor | float | None = None
    ) -> None:
        """Close an optimiser step: update the sums of every latent, note the loss and beta."""
        for name, gathered in self._latents.items():
            gathered.last = None
            self._absorb(name, gathered, list(gathered.pending))
            gathered.statistics.end_step()
        if loss is not None:
            self._note_loss(loss, frequency)
        beta = math.nan if beta is None else beta
        self._beta = beta.detach() if isinstance(beta, Tensor) else beta
        self.steps += 1

    def pack(self) -> tuple[Tensor, Layout]:
        """The window as one fp32 vector on the device, and how to read it.

        ``probed`` holds each latent's decoder gap and its error, ``[2]`` in nats, if the decoder
        was probed for this check; it is used up.
        """
        self._packed += 1
        parts, probed = [], self.probed
        self.probed = {}
        for name, gathered in self._latents.items():
            gap = probed.get(name, torch.full((2,), math.nan))
            parts += [gathered.statistics.pack(), self._mutual_information(gathered), gap]
        losses = torch.empty(0) if self._losses is None else self._losses[: self.steps]
        beta = torch.as_tensor(self._beta, dtype=torch.float32).detach().reshape(1)
        shapes = {name: gathered.statistics.shape for name, gathered in self._latents.items()}
        vector = torch.cat([part.to(parts[0].device) for part in [*parts, losses, beta]])
        return vector, Layout(shapes, losses.numel())

    def reset(self) -> None:
        """Start the next window."""
        for gathered in self._latents.values():
            gathered.statistics.reset()
            gathered.last = None
        if self._losses is not None:
            self._losses.fill_(math.nan)
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Sums of the open window as plain values and tensors."""
        latents = {
            name: {"shape": list(g.statistics.shape), "sums": g.statistics.pack().cpu()}
            for name, g in self._latents.items()
        }
        losses = None if self._losses is None else self._losses.cpu().clone()
        return {
            "steps": self.steps,
            "packed": self._packed,
            "latents": latents,
            "losses": losses,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a window; tensors move to the model's device when it is next observed."""
        self.steps = int(state["steps"])
        self._packed = int(state["packed"])
        self._losses = None if state["losses"] is None else state["losses"].clone()
        self._latents = {}
        for name, saved in state["latents"].items():
            shape = Shape(*saved["shape"])
            self._latents[name] = _Gathered(Statistics.unpack(saved["sums"], shape))

    def _gathered(self, name: str, posterior: Posterior) -> _Gathered:
        positions, units = posterior.positions_and_units
        device = posterior.mean.device
        gathered = self._latents.get(name)
        if gathered is not None and gathered.statistics.units != units:
            self._warn(
                f"latent {name!r} had {gathered.statistics.units} units and now has {units}; "
                "its window starts again. Give the two latents different names."
            )
            gathered = None
        elif gathered is not None and gathered.statistics.device.type == "meta" != device.type:
            gathered = None  # a trial run without data: there is nothing to keep
        if gathered is None:
            gathered = self._latents[name] = _Gathered(Statistics(positions, units, device))
        elif gathered.statistics.device != device:
            gathered.statistics.to(device)
        return gathered

    def _absorb(self, name: str, gathered: _Gathered, ready: list[_Observation]) -> None:
        for observation in ready:
            gathered.pending.remove(observation)
            if observation.hook is not None:  # a mean that is a leaf outlives the step
                observation.hook.remove()
            if _versions(observation.posterior) != observation.version:
                self._warn(
                    f"latent {name!r} was changed in place after it was observed; this batch is "
                    "left out. Observe it after the change, or observe a clone."
                )
                continue
            if observation.posterior.mean.shape[0] == 0:
                continue
            centred = gathered.statistics.update(observation.posterior, observation.mask)
            if observation.gradient is not None:
                gathered.statistics.add_growth(centred, observation.gradient)
            if observation.mask is None:  # single rows are read of it, padding too
                gathered.last = observation.posterior

    def _mutual_information(self, gathered: _Gathered) -> Tensor:
        last, device = gathered.last, gathered.statistics.device
        if last is None or last.mean.shape[0] < 2:
            return torch.full((2,), math.nan, device=device)
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device)
        self._generator.manual_seed(self._packed)  # so that a resumed run draws the same
        return mutual_information(last, self._generator)

    def _note_loss(self, loss: Tensor | float, frequency: int) -> None:
        device = loss.device if isinstance(loss, Tensor) else self.device
        held = torch.empty(0, device=device) if self._losses is None else self._losses
        with torch.inference_mode(False), torch.no_grad():
            if isinstance(loss, Tensor) and held.device != loss.device:  # resumed from a state
                held = torch.empty(0, device=device) if held.is_meta else held.to(device)
            if held.numel() <= self.steps:
                room = max(frequency, 2 * self.steps) - held.numel()
                held = torch.cat([held, torch.full((room,), math.nan, device=held.device)])
            held[self.steps] = loss if isinstance(loss, Tensor) else float(loss)  # or numpy's
        self._losses = held

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning(message)


def check_scalar(name: str, value: object) -> None:
    """Raise unless a step's value is a number, a tensor of one element or None."""
    if isinstance(value, Tensor) and not value.is_complex():
        if value.numel() != 1:
            raise ValueError(
                f"{name}: expected a scalar, got {list(value.shape)}; take its mean or sum first."
            )
    elif value is not None and not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name}: expected a number or a scalar tensor, got {value!r}; take the step's mean "
            "or sum."
        )


def _versions(posterior: Posterior) -> tuple[int, int]:
    if posterior.mean.is_inference() or posterior.log_variance.is_inference():
        return 0, 0
    return posterior.mean._version, posterior.log_variance._version
