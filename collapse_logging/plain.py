"""A plain latent's columns among the others, and how they are read as its statistics."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .rows import PlainRow, Row, Shape
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
    row = PlainRow
    units = columns.shape[1]
    same = (row.COUNT, row.SHIFT, row.LV_SHIFT, row.D, row.DD, row.EXPM1, row.LV)
    sums = columns.new_zeros(11, 1, units)
    sums[: len(same), 0] = columns[list(same)]
    sums[Row.WITHIN, 0] = (columns[row.DD] - columns[row.BETWEEN]).clamp(min=0.0)
    sums[Row.FREEDOM, 0] = (columns[row.COUNT] - part.batches).clamp(min=0.0)
    sums[Row.NONFINITE, 0] = part.rows - columns[row.COUNT]
    sums[Row.CLAMPED, 0] = columns[row.CLAMPED]
    growth = columns.new_zeros(4, units + 1)
    growth[1:, :-1] = columns[[row.PULL, row.PULL_SQUARED, row.STEPS]]
    growth[1:3, -1] = totals
    growth[1].neg_()
    growth[3, -1] = columns[row.STEPS].max()
    statistics = Statistics.unpack(
        torch.cat([sums.reshape(-1), growth.reshape(-1)]), Shape(1, units, 1, 1)
    )
    statistics.has_new_cells = False
    return statistics
