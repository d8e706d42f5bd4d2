"""Sums of a latent of another family than the diagonal Gaussian; they simply add up."""

from __future__ import annotations

import torch
from torch import Tensor

from .family import Family, name_of
from .posterior import Posterior
from .rows import FamilyRow, Shape
from .statistics import Statistics
from .sums import MAX_CELLS, Sums

_ROOM = 11 * MAX_CELLS
"""Sums that are kept at most, as many as of a Gaussian latent."""


class FamilyStatistics(Sums):
    """Count, unread elements and the family's own sums, ``[2 + rows, positions, units]``."""

    @classmethod
    def of(cls, batch: Family) -> FamilyStatistics:
        """Room for such batches, on their device."""
        positions, units = batch.positions_and_units
        rows = FamilyRow.OWN + batch.rows
        stride = -(-positions // max(1, _ROOM // (rows * units)))
        kept = -(-positions // stride)
        shape = Shape(kept, units, stride, batch.all_positions, rows, name_of(type(batch)))
        return cls(shape, batch.tensors[0].device)

    @torch.no_grad()
    def update(self, batch: Family, mask: Tensor | None = None) -> Tensor | None:
        """Add one batch; no value is read on the host, so nothing waits.

        Args:
            batch: of the family that the sums are of.
            mask: True where a sample is real, ``[batch]`` or ``[batch, positions]``.

        Returns:
            The parameter less its mean over the batch, ``[batch, positions, units, rest]``, zero
            where masked: what :meth:`add_growth` needs; None where there is no growth.
        """
        self.all_positions = max(self.all_positions, batch.all_positions)
        several = batch.positions_and_units[0] > 1
        batch = batch.mapped(self._kept) if several else batch
        if mask is not None:
            mask = mask.reshape(mask.shape[0], -1, 1).bool()
            mask = self._kept(mask) if several and mask.shape[1] > 1 else mask
        total = batch.total(mask)
        self._make_room(total.shape[1])
        self.sums[:, : total.shape[1]] += total
        self.has_new_cells = False
        return self._centred(batch, mask)

    @torch.no_grad()
    def add_growth(self, centred: Tensor, gradient: Tensor) -> None:
        """Add g, ``-sum_b (l_b - mean l) dL/dl_b`` of the parameter l, as :meth:`update` gave it.

        As for means of a Gaussian: positive where the loss wants samples to differ more.
        """
        gradient = self._kept(gradient) if centred.shape[1] > 1 else gradient
        product = centred * gradient.float().reshape(centred.shape)
        self.add_pending(-torch.where(centred == 0, 0.0, product).sum((0, 1, 3)))

    def reset(self) -> None:
        """Start the next window; in place."""
        self.sums.zero_()
        self.growth_sums[1:].zero_()

    def merge(self, other: FamilyStatistics) -> FamilyStatistics:
        """The statistics of both windows together.

        Raises:
            ValueError: the two are of different families, sizes or units.
        """
        mine, theirs = self.shape, other.shape
        if (mine.family, mine.rows, mine.units) != (theirs.family, theirs.rows, theirs.units):
            raise ValueError(
                f"expected statistics of {mine.units} units of {mine.family}, got {theirs.units} "
                f"of {theirs.family}; only windows of the same latent merge."
            )
        most = max(mine.all_positions, theirs.all_positions)
        merged = FamilyStatistics(mine._replace(all_positions=most), self.device)
        merged._make_room(other.positions)
        for one in (self, other):
            merged.sums[:, : one.positions] += one.sums.to(self.device)
            merged.growth_sums += one.growth_sums.to(self.device)
            merged._has_gradient |= one._has_gradient
        return merged

    def _kept(self, tensor: Tensor) -> Tensor:
        """The positions that are kept, ``[batch, kept, ...]``."""
        most = max(1, _ROOM // (self.sums.shape[0] * self.units)) * self.stride
        return tensor[:, : most : self.stride]

    def _centred(self, batch: Family, mask: Tensor | None) -> Tensor | None:
        if batch.parameter is None:
            return None
        positions, units = batch.positions_and_units
        parameter = batch.parameter.detach().float()
        parameter = parameter.reshape(parameter.shape[0], positions, units, -1)
        real = torch.isfinite(parameter)
        if mask is not None:
            real = real & mask.unsqueeze(-1)
        centre = torch.where(real, parameter, 0.0).sum(0) / real.sum(0).clamp(min=1)
        return torch.where(real, parameter - centre, 0.0)


def room_for(batch: Posterior | Family) -> Statistics | FamilyStatistics:
    """Sums for such batches, on their device, still empty."""
    if isinstance(batch, Family):
        return FamilyStatistics.of(batch)
    return Statistics(*batch.positions_and_units, batch.mean.device)


def emptied(sums: Sums, shape: Shape) -> Statistics | FamilyStatistics:
    """Sums of the same kind that begin afresh, of every ``shape.stride``-th position."""
    shape = sums.shape._replace(positions=1, stride=shape.stride, all_positions=shape.all_positions)
    return unpacked(sums.sums.new_zeros(shape.size), shape)


def changed(
    units: int, statistics: Statistics | FamilyStatistics | None, batch: Posterior | Family
) -> str | None:
    """How a latent is not what it was, in words; None: such a batch can be added.

    Args:
        units: that it had.
        statistics: its own sums, None: those of a plain Gaussian.
        batch: what comes.
    """
    now = batch.positions_and_units[1]
    if units != now:
        return f"had {units} units and now has {now}"
    family = statistics.family if statistics is not None else ""
    if isinstance(batch, Posterior):
        return f"was a {family.split(':')[1]} and now is a Gaussian" if family else None
    if name_of(type(batch)) != family:
        return f"was of another kind and now is a {type(batch).__name__}"
    assert statistics is not None  # it has a family
    rows, new = (count - FamilyRow.OWN for count in (len(statistics.sums), batch.rows + 2))
    return None if rows == new else f"had {rows} sums a unit and now has {new}"


def unpacked(vector: Tensor, shape: Shape) -> Statistics | FamilyStatistics:
    """The sums of ``shape`` that ``pack`` wrote; ``vector`` is copied.

    Raises:
        ValueError: the vector's length is not that of such sums.
    """
    if not shape.family:
        return Statistics.unpack(vector, shape)
    statistics = FamilyStatistics(shape, vector.device)
    statistics.fill(vector)
    return statistics
