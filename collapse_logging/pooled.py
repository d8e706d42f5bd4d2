"""A window as one vector that may be added over ranks, and how the sum is read.

Sums may be added only if they are taken about the same points, and values that are known on some
ranks only if it is said on how many. All is float64: a check adds few kilobytes, and what the
ranks' means differ by costs no digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .family_statistics import unpacked
from .gathered import Gathered
from .latents import Latents
from .plain import fill_growth, fill_sums
from .rows import GrowthRow, Row, Shape
from .shifts import rebase
from .snapshot import EXTRAS, Seen, Snapshot
from .sums import Sums
from .window import Window

_ROWS, _SUMMED = Row.ALL, 9

CONTROLS = 6
"""Values behind the sums, by which the ranks tell each other how they are."""


@dataclass
class Pool:
    """What all ranks pack, in the same order.

    Attributes:
        shapes: by name the shape of each latent's sums.
        shifts: the points about which they are taken, ``[3, cells]`` with the first three rows
            of :class:`~.rows.Row`, the first of which is not used.
    """

    shapes: Mapping[str, Shape]
    shifts: Tensor

    @property
    def cells(self) -> int:
        """Units times positions of all Gaussian latents."""
        return self.shifts.shape[1]

    def size(self, steps: int) -> int:
        """Length of the vector of a window of so many steps."""
        growth = sum(3 * (shape.units + 1) for shape in self.shapes.values())
        own = sum(room(shape) for shape in self.shapes.values() if shape.family)
        return _SUMMED * self.cells + growth + own + 2 * self._values(steps)

    def pack(self, window: Window) -> Tensor:
        """The window's sums and values, ``[size]``; nothing is read on the host."""
        moments, growth = self._sums(window.latents)
        moments = rebase(moments, self.shifts)
        values = self._told(window)
        known = torch.isfinite(values)
        parts = [moments[0], moments[Row.D :], *growth, torch.where(known, values, 0.0), known]
        return torch.cat([part.reshape(-1).to(self.shifts) for part in parts])

    def centred(self, total: Tensor) -> Tensor:
        """What was added, about its own means, which the next window's sums are taken about.

        fp32, in which the host reads it, would else lose the variance beside the means.
        """
        added = total[: _SUMMED * self.cells].reshape(_SUMMED, self.cells)
        count = added[:1].clamp(min=1.0)
        moments = torch.cat([added[:1], self.shifts[Row.SHIFT :], added[1:]])
        means = (torch.stack([moments[Row.D], moments[Row.LV]]) / count).nan_to_num(0.0, 0.0, 0.0)
        shifts = (self.shifts[Row.SHIFT :] + means).float().double()  # as the host reads them
        self.shifts = torch.cat([count, shifts])
        moments = rebase(moments, self.shifts)
        return torch.cat(
            [moments[0], shifts.reshape(-1), moments[Row.D :].reshape(-1), total[added.numel() :]]
        )

    def split(self, vector: Tensor, steps: int) -> Snapshot:
        """Read on the host what :meth:`centred` gave."""
        start = _ROWS * self.cells
        moments = vector[:start].reshape(_ROWS, self.cells)
        count = self._values(steps)
        values, known = vector[-2 * count :].reshape(2, count)
        values = values / known  # NaN where no rank knew it
        seen: dict[str, Seen] = {}
        at = 0
        for number, (name, shape) in enumerate(self.shapes.items()):
            size = 3 * (shape.units + 1)
            growth = torch.zeros(4, shape.units + 1, dtype=torch.float64)
            growth[GrowthRow.G :] = vector[start : start + size].reshape(3, -1)
            start += size
            if shape.family:
                sums = vector[start : start + room(shape)]
                start += room(shape)
            else:
                sums = moments[:, at : at + room(shape) // _ROWS]
                at += sums.shape[1]
            whole = torch.cat([sums.reshape(-1), growth.reshape(-1)]).float()
            own = slice(len(EXTRAS) * number, len(EXTRAS) * (number + 1))
            extras = dict(zip(EXTRAS, values[own].tolist(), strict=True))
            extras["decoder_gap_error"] = float((values[own][3] / known[own][3]).sqrt())
            seen[name] = Seen(unpacked(whole, shape), extras)
        *losses, beta = values[len(EXTRAS) * len(self.shapes) :].tolist()
        return Snapshot(seen, tuple(losses), beta)

    def _values(self, steps: int) -> int:
        return len(EXTRAS) * len(self.shapes) + steps + 1

    def _sums(self, latents: Latents) -> tuple[Tensor, list[Tensor]]:
        """``[11, cells]``, and each latent's sums over steps; zero where it was not observed.

        Behind its sums over steps those of a latent that is no Gaussian, which need no shift.
        """
        plain, found = latents.plain, dict(latents)
        table, parts = plain.table.to(self.shifts), list(plain.parts.values())
        sums, totals = table.new_empty(_ROWS, table.shape[1]), plain.totals.to(table)
        fill_sums(sums, table, parts)
        blocks, growth = [self.shifts.new_zeros(_ROWS, 0)], []
        for name, shape in self.shapes.items():
            gathered, cells = found.get(name), shape.positions * shape.units
            if gathered is None or not alike(shape, shape_of(gathered)):
                block = self.shifts.new_zeros(shape.rows, cells)
                pull = self.shifts.new_zeros(3, shape.units + 1)
            elif gathered.statistics is None:
                part, at = plain.parts[name], list(plain.parts).index(name)
                block, pull = sums[:, part.start : part.end], table.new_empty(3, shape.units + 1)
                fill_growth(pull, table, totals[:, at], part)
            else:
                own = gathered.statistics
                block, pull = own.sums.flatten(1)[:, :cells], own.growth_sums[GrowthRow.G :]
            block = torch.nn.functional.pad(block, (0, cells - block.shape[1])).to(self.shifts)
            growth += [pull, block] if shape.family else [pull]
            blocks += [] if shape.family else [block]
        return torch.cat(blocks, 1), growth

    def _told(self, window: Window) -> Tensor:
        """Values of which the mean over ranks is taken; NaN where this rank does not know them."""
        extras = window.extras()
        unknown = [self.shifts.new_full((len(EXTRAS),), torch.nan)]
        parts = []
        for name in self.shapes:
            own = torch.cat([pair.to(self.shifts) for pair in extras.get(name, unknown)])
            parts += [own[:3], own[3:].square()]  # errors add in squares
        parts += [window.losses, window.beta]
        return torch.cat([part.to(self.shifts) for part in parts])


@dataclass(frozen=True)
class Added:
    """How a window that was added over ranks is to be read."""

    pool: Pool
    steps: int

    def split(self, vector: Tensor) -> Snapshot:
        """The window on the host."""
        return self.pool.split(vector[:-CONTROLS], self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        shapes = {name: list(shape) for name, shape in self.pool.shapes.items()}
        return {"shapes": shapes, "steps": self.steps}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Added:
        """What :meth:`to_dict` wrote."""
        shapes = {name: Shape(*shape) for name, shape in values["shapes"].items()}
        cells = sum(s.positions * s.units for s in shapes.values() if not s.family)
        return cls(Pool(shapes, torch.zeros(3, cells)), int(values["steps"]))


def shape_of(gathered: Gathered) -> Shape:
    """The shape of a latent's sums."""
    own = gathered.statistics
    return Shape(1, gathered.units, 1, 1) if own is None else own.shape


def room(shape: Shape) -> int:
    """How many sums a latent has, but those over steps."""
    return shape.rows * shape.positions * shape.units


def alike(one: Shape, other: Shape) -> bool:
    """Whether two shapes' sums may be added, but for positions that one of them lacks."""
    return same_kind(one, other) and one.stride == other.stride


def same_kind(one: Shape, other: Shape) -> bool:
    """Whether two ranks observed the same kind of latent."""
    return (one.units, one.rows, one.family) == (other.units, other.rows, other.family)


def means_of(statistics: Sums) -> Tensor:
    """Samples and means of mu and ln sigma^2 by cell, ``[3, cells]``, on the host.

    Sums of a latent that is no Gaussian are not taken about their means: there are none.
    """
    if statistics.family:
        return torch.zeros(3, 0, dtype=torch.float64)
    sums = statistics.sums.flatten(1).double().cpu()
    count = sums[Row.COUNT].clamp(min=1.0)
    means = (sums[Row.SHIFT] + sums[Row.D] / count, sums[Row.LV_SHIFT] + sums[Row.LV] / count)
    return torch.stack([sums[Row.COUNT], *means])


def shifts_of(
    name: str, shape: Shape, observed: Sequence[Mapping[str, tuple[Sequence[Any], Tensor]]]
) -> Tensor:
    """A latent's means over all ranks, ``[3, cells]``, 0 where there is no sample.

    Args:
        name: the latent.
        shape: as all pack it.
        observed: of each rank, by latent its own shape and :func:`means_of`.
    """
    cells = 0 if shape.family else shape.positions * shape.units
    total = torch.zeros(3, cells, dtype=torch.float64)
    for of_rank, means in (latents[name] for latents in observed if name in latents):
        if alike(shape, Shape(*of_rank)):
            total[0, : means.shape[1]] += means[0]
            total[1:, : means.shape[1]] += means[0] * means[1:]
    return total / total[:1].clamp(min=1.0)
