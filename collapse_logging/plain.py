"""A plain latent's columns among the others, and how they are read as its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .rows import PlainRow, Shape
from .statistics import Statistics


class Part(NamedTuple):
    """A latent's columns, and what the host counts of its window.

    Attributes:
        start: its first column.
        end: one behind its last column.
        rows: rows of its batches.
        batches: how many batches that were.
    """

    start: int
    end: int
    rows: int = 0
    batches: int = 0


def plain_statistics(columns: Tensor, totals: Tensor, part: Part) -> Statistics:
    """The sums of one latent as :class:`Statistics`, on the same device.

    Args:
        columns: its columns of :attr:`SideBySide.table`, ``[15, units]``.
        totals: its column of :attr:`SideBySide.totals`, ``[2]``.
        part: how many rows and batches there were.
    """
    units = columns.shape[1]
    part = part._replace(start=0, end=units)
    (growth,) = plain_growth(columns, totals.unsqueeze(1), [part])
    pending = growth.new_zeros(1, units + 1)
    statistics = Statistics.unpack(
        torch.cat([rows.reshape(-1) for rows in (plain_sums(columns, [part]), pending, growth)]),
        Shape(1, units, 1, 1),
    )
    statistics.has_new_cells = False
    return statistics


def plain_sums(table: Tensor, parts: Sequence[Part]) -> Tensor:
    """All latents' sums with the rows of :class:`~.rows.Row`, ``[11, all units]``.

    Args:
        table: see :attr:`SideBySide.table`.
        parts: its latents, in the order of their columns.
    """
    row = PlainRow
    count = table[row.COUNT]
    units = [part.end - part.start for part in parts]
    rows, batches = (
        torch.cat([count.new_full((n,), c) for n, c in zip(units, counts, strict=True)])
        for counts in ([part.rows for part in parts], [part.batches for part in parts])
    )
    same = (row.SHIFT, row.LV_SHIFT, row.D, row.DD, row.EXPM1, row.LV)
    within = (table[row.DD] - table[row.BETWEEN]).clamp(min=0.0)
    freedom = (count - batches).clamp(min=0.0)
    rest = [within, freedom, rows - count, table[row.CLAMPED]]
    return torch.stack([count, *(table[at] for at in same), *rest])


def plain_growth(table: Tensor, totals: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    """Each latent's sums over steps of g, g^2 and 1, ``[3, units + 1]``; the last is the whole.

    Args:
        table: see :attr:`SideBySide.table`.
        totals: see :attr:`SideBySide.totals`.
        parts: its latents, in the order of their columns.
    """
    row = PlainRow
    units = torch.stack([table[row.PULL].neg(), table[row.PULL_SQUARED], table[row.STEPS]])
    steps = [units[2:, part.start : part.end].amax(1) for part in parts]
    return [
        torch.cat(
            [
                units[:, part.start : part.end],
                torch.cat([-totals[:1, at], totals[1:, at], steps[at]]).unsqueeze(1),
            ],
            1,
        )
        for at, part in enumerate(parts)
    ]
