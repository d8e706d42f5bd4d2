"""Every latent's sums and the batches that wait for their gradient."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .family import Family
from .family_statistics import FamilyStatistics, changed, emptied, room_for, unpacked
from .gathered import Gathered
from .observation import Observation
from .posterior import Posterior
from .rows import Shape
from .side_by_side import SideBySide
from .statistics import Statistics

_log = logging.getLogger("collapse_logging")


class Latents:
    """Sums what is observed of each latent, by the way that fits it.

    Args:
        max_rows: rows of a batch that are read at most; None: all.

    Attributes:
        max_rows: may be changed between two steps.
    """

    def __init__(self, max_rows: int | None = None) -> None:
        self._plain = SideBySide()
        self.max_rows = max_rows
        self._latents: dict[str, Gathered] = {}
        self._warned: set[str] = set()

    @property
    def plain(self) -> SideBySide:
        """Sums of the latents that lie side by side, up to date."""
        self._plain.settle()
        return self._plain

    @property
    def device(self) -> torch.device | None:
        """The device of the first latent, None before any was observed."""
        return next((self._device_of(gathered) for gathered in self._latents.values()), None)

    @property
    def rows(self) -> int:
        """Rows of the largest batch of the step that ended last."""
        last = (gathered.last for gathered in self._latents.values())
        return max((batch.tensors[0].shape[0] for batch in last if batch), default=0)

    def __iter__(self) -> Iterator[tuple[str, Gathered]]:
        """Names and latents, in the order in which they were first observed."""
        return iter(self._latents.items())

    def statistics(self, name: str) -> Statistics | FamilyStatistics:
        """A latent's sums in this window."""
        own = self._latents[name].statistics
        return self._plain.statistics(name) if own is None else own

    def observe(self, name: str, posterior: Posterior | Family, mask: Tensor | None = None) -> None:
        """Keep a handle on one batch and ask autograd for the gradient of its mean."""
        gathered = self._latents.get(name)
        if gathered is None or mask is not None or not self._fits(gathered, posterior):
            gathered = self._gathered(name, posterior, mask)
        if gathered.pending:
            if gathered.waits_for(posterior.tensors[0]):
                self._warn(
                    f"latent {name!r} was observed twice in one step and counts once. Leave out "
                    "monitor.observe or monitor.watch, or give the two latents different names."
                )
                return
            for observation in gathered.early():
                self._absorb(name, gathered, observation)
        gathered.pending.append(Observation.of(posterior, mask, self.max_rows))

    def grow(self, name: str, growth: Tensor) -> None:
        """Add a micro-batch's growth, ``[units]``, that a compiled graph has summed up itself."""
        gathered = self._latents.get(name)
        if gathered is not None and gathered.statistics is None:
            self._plain.grow(name, growth)
        elif gathered is not None and gathered.statistics is not None:
            gathered.statistics.add_pending(growth)

    def end_step(self) -> None:
        """Close an optimiser step: update the sums of every latent."""
        plain: dict[str, Observation] = {}
        for name, gathered in self._latents.items():
            gathered.last = None
            pending, gathered.pending = gathered.pending, []
            ready = gathered.usable(pending)
            if gathered.was_changed:
                gathered.was_changed = False
                self._warn(
                    f"latent {name!r} was changed in place after it was observed; this batch is "
                    "left out. Observe it after the change, or observe a clone."
                )
            if gathered.statistics is None and ready:
                plain[name] = ready.pop()
            for observation in ready:
                self._absorb(name, gathered, observation)
            if gathered.statistics is not None:
                gathered.statistics.end_step()
        self._absorb_together(plain)

    def reset(self) -> None:
        """Start the next window."""
        self._plain.reset()
        for gathered in self._latents.values():
            gathered.last = None
            if gathered.statistics is not None:
                gathered.statistics.reset()

    def forget(self) -> None:
        """Start again with no latent; hooks on what waits for its gradient are taken off."""
        for gathered in self._latents.values():
            for observation in gathered.pending:
                observation.release()
        self._latents, self._plain = {}, SideBySide()

    def read_by_element(self, name: str) -> None:
        """Give a latent sums of its own, which leave out single elements that are not finite."""
        gathered = self._latents.get(name)
        if gathered is not None and gathered.statistics is None:
            gathered.statistics = self._plain.take_out(name)

    def restart(self, shapes: Mapping[str, Shape]) -> None:
        """Begin afresh those latents of which other ranks read fewer positions."""
        for name, gathered in self._latents.items():
            own, shape = gathered.statistics, shapes.get(name)
            if own is not None and shape is not None and shape.stride > own.stride:
                gathered.statistics = emptied(own, shape)

    def state_dict(self) -> dict[str, Any]:
        """Sums as plain values and tensors; a trial run without data has none."""
        if self.device is not None and self.device.type == "meta":
            return Latents().state_dict()
        latents: dict[str, Any] = {name: g.units for name, g in self._latents.items()}
        for name, gathered in self._latents.items():
            if (own := gathered.statistics) is not None:
                saved = {"shape": list(own.shape), "sums": own.pack().cpu()}
                latents[name] = {**saved, "has_new_cells": own.has_new_cells}
        return {"latents": latents, "plain": self._plain.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self._plain.load_state_dict(state["plain"])
        self._latents = {}
        for name, saved in state["latents"].items():
            if isinstance(saved, int):
                self._latents[name] = Gathered(saved)
            else:
                own = unpacked(saved["sums"], Shape(*saved["shape"]))
                own.has_new_cells = saved.get("has_new_cells", True)
                self._latents[name] = Gathered(own.units, own)

    def _fits(self, gathered: Gathered, posterior: Posterior | Family) -> bool:
        """Whether a batch is as the last of a plain latent was."""
        if gathered.statistics is not None or type(posterior) is not Posterior:
            return False
        mean = posterior.mean
        return mean.shape[1:] == (gathered.units,) and mean.device == self._plain.table.device

    def _gathered(self, name: str, posterior: Posterior | Family, mask: Tensor | None) -> Gathered:
        units, tensor = posterior.positions_and_units[1], posterior.tensors[0]
        plain = isinstance(posterior, Posterior) and tensor.ndim == 2 and mask is None
        device = tensor.device
        if device.type != "meta" and self.device is not None and self.device.type == "meta":
            self.forget()  # a trial run without data
        gathered = self._latents.get(name)
        if gathered and (how := changed(gathered.units, gathered.statistics, posterior)):
            self._warn(
                f"latent {name!r} {how}; its window starts again. Give the two latents different "
                "names."
            )
            self.read_by_element(name)  # so that it leaves the others
            gathered = None
        if gathered is None:
            gathered = self._latents[name] = Gathered(units)
            if plain and self._plain_may_be_on(device):
                self._plain.add(name, units, device)
            else:
                gathered.statistics = room_for(posterior)
        if gathered.statistics is None and not (plain and self._plain_may_be_on(device)):
            self.read_by_element(name)
        if self._device_of(gathered) != device:
            (gathered.statistics or self._plain).to(device)
        return gathered

    def _device_of(self, gathered: Gathered) -> torch.device:
        own = gathered.statistics
        return self._plain.device if own is None else own.device

    def _plain_may_be_on(self, device: torch.device) -> bool:
        """Whether the plain latents are there, or may be moved: none waits on another device."""
        if self._plain.device == device:
            return True
        return not any(g.pending for g in self._latents.values() if g.statistics is None)

    def _absorb(self, name: str, gathered: Gathered, observation: Observation) -> None:
        batch, gradient = observation.posterior, observation.gradient
        if isinstance(batch, Posterior) and gathered.statistics is None:
            gradients = [] if gradient is None else [gradient]
            self._plain.update({name: batch}, gradients, closes=False)
        elif gathered.statistics is not None:
            gathered.statistics.add(batch, observation.mask, gradient)
        if observation.mask is None:  # single rows are read of it, padding too
            gathered.last = batch

    def _absorb_together(self, ready: dict[str, Observation]) -> None:
        """The last batch of each plain latent: in one go, if all have one of the same size."""
        batch: dict[str, Any] = {}
        gradients, kinds = [], set()
        for name in self._plain.parts:
            if (observation := ready.get(name)) is not None:
                self._latents[name].last = batch[name] = observation.posterior
                kinds.add((observation.rows, observation.gradient is None))
                if observation.gradient is not None:
                    gradients.append(observation.gradient)
        if len(kinds) == 1 and len(batch) == len(self._plain.parts):
            self._plain.update(batch, gradients)
        else:
            for name, posterior in batch.items():
                gradient = ready[name].gradient
                self._plain.update({name: posterior}, [] if gradient is None else [gradient])
        self._plain.end_step()

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning(message)
