"""A plain latent's columns among the others, and how they are read as its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rows import GrowthRow, PlainRow, Row
from .statistics import Statistics

Numbers = TypeVar("Numbers", Tensor, NDArray[np.float32])
"""On the device, or the same memory as NumPy sees it: what is done to both is written once."""


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
    with torch.inference_mode(False):
        sums, growth = columns.new_empty(Row.ALL, units), columns.new_zeros(4, units + 1)
    if columns.device.type == "cpu":  # NumPy's calls cost less, and this is the host at a check
        fill_sums(sums.numpy(), columns.numpy(), [part])
        fill_growth(growth.numpy()[GrowthRow.G :], columns.numpy(), totals.numpy(), part)
    else:
        fill_sums(sums, columns, [part])
        fill_growth(growth[GrowthRow.G :], columns, totals, part)
    return Statistics.of(sums.unsqueeze(1), growth)


def fill_sums(sums: Numbers, table: Numbers, parts: Sequence[Part]) -> None:
    """Write all latents' sums with the rows of :class:`~.rows.Row`.

    Args:
        sums: ``[11, all units]``, to be written.
        table: see :attr:`SideBySide.table`.
        parts: its latents, in the order of their columns.
    """
    to, of = Row, PlainRow
    for row in ("COUNT", "SHIFT", "LV_SHIFT", "D", "DD", "EXPM1", "LV", "CLAMPED"):
        sums[getattr(to, row)] = table[getattr(of, row)]
    sums[to.WITHIN] = table[of.WITHIN].clip(min=0.0)
    for part in parts:
        units = slice(part.start, part.end)
        sums[to.FREEDOM, units] = (table[of.COUNT, units] - part.batches).clip(min=0.0)
        sums[to.NONFINITE, units] = part.rows - table[of.COUNT, units]


def fill_growth(growth: Numbers, table: Numbers, totals: Numbers, part: Part) -> None:
    """Write a latent's sums over steps of g, g^2 and 1; those of the whole latent come last.

    Args:
        growth: ``[3, units + 1]``, to be written.
        table: see :attr:`SideBySide.table`.
        totals: its column of :attr:`SideBySide.totals`, ``[2]``.
        part: its columns.
    """
    steps, pull, squared = table[PlainRow.STEPS :, part.start : part.end]
    growth[0, :-1], growth[0, -1] = -pull, -totals[0]
    growth[1, :-1], growth[1, -1] = squared, totals[1]
    growth[2, :-1], growth[2, -1] = steps, steps.max()
