"""Sums of all plain latents side by side in one tensor: as many kernels for many as for one.

Latents of the form ``[batch, units]`` lie next to one another and the same few kernels read their
batches: on an NVIDIA GPU two of our own (:mod:`~.fused`); on a CPU those of many steps at once
(:class:`~.pile.Pile`); else, or where these cannot, those of :mod:`~.batch_sums`. What cannot be
read leaves its unit out for the whole batch, which is asked per unit and not per element. Masked
latents and those with positions have :class:`~.statistics.Statistics` instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .batch_sums import BatchSums, View, add_sums, batch_sums, growth
from .fused import add_fused
from .pile import Pile
from .plain import Part, plain_statistics
from .posterior import Posterior
from .rows import PlainRow
from .shifts import LOG_VARIANCE_LIMIT
from .statistics import Statistics


class SideBySide:
    """Sums of plain latents; their address changes only when a latent comes or goes.

    Attributes:
        parts: columns and counts by latent.
        table: ``[15, all units]`` in fp32, see :class:`~.rows.PlainRow`.
        totals: ``[2, latents]``: sums over steps of the whole latent's pull and its square.
    """

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.table = torch.zeros(PlainRow.ALL, 0)
        self.totals = torch.zeros(2, 0)
        self._pending: dict[str, Tensor] = {}
        self._pile = Pile()
        self._new: set[str] = set()
        self._views: dict[tuple[str, ...], View] = {}

    @property
    def device(self) -> torch.device:
        """Where the sums live."""
        return self.table.device

    @property
    def ends(self) -> tuple[int, ...]:
        """0, and of each latent the column behind its last."""
        return (0, *[part.end for part in self.parts.values()])

    def add(self, name: str, units: int, device: torch.device) -> None:
        """Make room for a latent behind the others."""
        self.settle()
        start = self.table.shape[1]
        with torch.inference_mode(False):
            room = torch.zeros(PlainRow.ALL, units, device=device)
            room[PlainRow.LOW], room[PlainRow.HIGH] = -LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT
            self.table = torch.cat([self.table.to(device), room], 1)
            self.totals = torch.cat([self.totals.to(device), room.new_zeros(2, 1)], 1)
        self.parts[name] = Part(start, start + units)
        self._new.add(name)
        self._views = {}

    def take_out(self, name: str) -> Statistics:
        """Give a latent's sums so far, and close the gap that they leave."""
        self.settle()
        taken, at = self.statistics(name), list(self.parts).index(name)
        gone = self.parts.pop(name)
        taken.has_new_cells = name in self._new
        if (pending := self._pending.pop(name, None)) is not None:
            taken.add_pending(-pending)
        with torch.inference_mode(False):
            self.table = torch.cat([self.table[:, : gone.start], self.table[:, gone.end :]], 1)
            self.totals = torch.cat([self.totals[:, :at], self.totals[:, at + 1 :]], 1)
        for other, part in self.parts.items():
            if part.start >= gone.end:
                start, end = part.start - taken.units, part.end - taken.units
                self.parts[other] = part._replace(start=start, end=end)
        self._new.discard(name)
        self._views = {}
        return taken

    def to(self, device: torch.device) -> None:
        """Move the sums, after the model was moved or a state was loaded."""
        self.settle()
        self.table, self.totals = self.table.to(device), self.totals.to(device)
        self._pending = {name: pull.to(device) for name, pull in self._pending.items()}
        self._views = {}

    def update(
        self,
        batch: Mapping[str, Posterior],
        gradients: Sequence[Tensor] = (),
        closes: bool = True,
    ) -> None:
        """Add one batch of one latent, or of all in the order of ``parts``, of one batch size.

        Args:
            batch: a posterior ``[batch, units]`` by latent, detached, any floating types.
            gradients: dL/dmu of each, or of none.
            closes: whether the optimiser step is over; else the pull waits for more.
        """
        posteriors = batch.values()
        sides = [*[p.log_variance for p in posteriors], *[p.mean for p in posteriors], *gradients]
        rows = sides[0].shape[0]
        whole = closes and rows > 1 and len(batch) == len(self.parts)
        if whole and not (self._new or self._pending) and self._put(sides, rows):
            return
        self.settle()
        with torch.no_grad():
            for name in self._new.intersection(batch):
                self._set_shift(name, batch[name])
            sums = batch_sums(self._view(tuple(batch)), torch.cat(sides, 1).unsqueeze(0))
            if sums.pull is not None and not closes:
                self._wait(batch, sums.pull)
            elif sums.pull is not None and self._pending:
                self._add_pending(batch, sums.pull)
            self._add(tuple(batch), sums, 1, rows, closes)

    def _put(self, sides: list[Tensor], rows: int) -> bool:
        """Whether a batch of all latents is put away, or added by kernels of our own."""
        if self._pile.full:
            self.settle()
        if self._pile.put(sides, rows, len(sides) // len(self.parts) * self.table.shape[1]):
            return True
        if self._pile.count or not add_fused(self.table, self.totals, self.ends, sides):
            return False
        self._count(self.parts, 1, rows)
        return True

    def settle(self) -> None:
        """Sum what waits in the pile; whoever reads the sums calls it first."""
        if self._pile.count:
            with torch.no_grad():
                names, batches = tuple(self.parts), self._pile.take()
                self._add(names, batch_sums(self._view(names), batches), *batches.shape[:2])

    @torch.no_grad()
    def grow(self, name: str, growth: Tensor) -> None:
        """Add to a latent's g in this step, ``[units]``."""
        earlier = self._pending.get(name)
        self._pending[name] = -growth if earlier is None else earlier - growth

    def end_step(self) -> None:
        """Close the optimiser step for the latents whose pull still waits."""
        if self._pending:
            self._add_waiting()

    @torch.no_grad()
    def _add_waiting(self) -> None:
        for name in list(self._pending):
            view, pull = self._view((name,)), self._pending.pop(name)
            stepped = torch.addcmul(view.one, pull, pull, value=0).nan_to_num_(0.0)
            first, second = growth(view, pull.nan_to_num_(0.0, 0.0, 0.0), stepped)
            torch._foreach_addcmul_(view.growth, first, second)

    @torch.no_grad()
    def reset(self) -> None:
        """Start the next window, shifted to the means of this one; in place."""
        self.settle()
        table, row = self.table, PlainRow
        shifts, limits = table[: row.ZERO], table[row.LOW : row.COUNT]
        moved = table[row.LV : row.EXPM1] / table[row.COUNT].clamp(min=1.0)
        shifts += moved
        limits -= moved[0]
        table[row.COUNT :].zero_()
        self.totals.zero_()
        self.parts = {name: Part(part.start, part.end) for name, part in self.parts.items()}

    def statistics(self, name: str) -> Statistics:
        """One latent's sums as :class:`Statistics`."""
        self.settle()
        at, part = list(self.parts).index(name), self.parts[name]
        return plain_statistics(self.table[:, part.start : part.end], self.totals[:, at], part)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        parts = {name: list(part) for name, part in self.parts.items()}
        table, totals = self.table.cpu().clone(), self.totals.cpu().clone()
        pending = {name: pull.cpu().clone() for name, pull in self._pending.items()}
        sums = {"table": table, "totals": totals, "pending": pending}
        return {"parts": parts, **sums, "new": sorted(self._new), "pile": self._pile.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.parts = {name: Part(*part) for name, part in state["parts"].items()}
        self.table, self.totals = state["table"].clone(), state["totals"].clone()
        self._pending = {name: pull.clone() for name, pull in state["pending"].items()}
        self._new, self._views = set(state.get("new", ())), {}
        self._pile.load(state["pile"])

    def _add(
        self, names: Iterable[str], sums: BatchSums, many: int, rows: int, closes: bool = True
    ) -> None:
        """Add so many batches of so many rows to these latents' sums."""
        add_sums(self._view(tuple(names)), sums, rows, closes)
        self._count(names, many, rows)

    def _count(self, names: Iterable[str], many: int, rows: int) -> None:
        for name in names:
            part = self.parts[name]
            counts = {"rows": part.rows + many * rows, "batches": part.batches + many}
            self.parts[name] = part._replace(**counts)

    def _set_shift(self, name: str, posterior: Posterior) -> None:
        """Nothing was summed yet: shift to the means of this first batch."""
        part, row = self.parts[name], PlainRow
        columns = self.table[:, part.start : part.end]
        mean, log_variance = posterior.mean.float(), posterior.log_variance.float()
        columns[row.SHIFT] = mean.mean(0).nan_to_num_(0.0, 0.0, 0.0)
        limited = log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
        columns[row.LV_SHIFT] = limited.mean(0).nan_to_num_(0.0)
        columns[row.LOW] -= columns[row.LV_SHIFT]
        columns[row.HIGH] -= columns[row.LV_SHIFT]
        self._new.discard(name)

    def _view(self, names: tuple[str, ...]) -> View:
        if names not in self._views:
            at = list(self.parts).index(names[0])
            totals = self.totals[:, at : at + len(names)]
            self._views[names] = View.of(self.table, totals, [self.parts[n] for n in names])
        return self._views[names]

    def _wait(self, names: Iterable[str], pull: Tensor) -> None:
        """Keep this micro-batch's pull for the end of the step."""
        start = 0
        for name in names:
            part = self.parts[name]
            self.grow(name, -pull[start : start + part.end - part.start])
            start += part.end - part.start

    def _add_pending(self, names: Iterable[str], pull: Tensor) -> None:
        """Add what the step's earlier micro-batches left."""
        start = 0
        for name in names:
            part = self.parts[name]
            if (earlier := self._pending.pop(name, None)) is not None:
                pull[start : start + part.end - part.start] += earlier
            start += part.end - part.start
