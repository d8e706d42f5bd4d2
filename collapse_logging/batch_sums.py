"""What batches add to the sums of plain latents, in as few kernels as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .plain import Part
from .rows import PlainRow


class View(NamedTuple):
    """The columns of one plain latent or of all, at their fixed address.

    Attributes:
        shifts: what is subtracted from a batch before it is summed, ``[3, 1, 1, units]``: of
            ln sigma^2, of mu, and 0 for the gradient.
        low: least ln sigma^2 less its shift, ``[units]``.
        high: greatest ln sigma^2 less its shift, ``[units]``.
        posterior: rows of the sums over samples, see :class:`~.rows.PlainRow`.
        growth: rows of the sums over steps, and the two totals of each latent, ``[latents]``.
        latent_of: index of each unit's latent; None if there is one.
        zeros: ``[latents]``.
        ones: ``[latents]``.
        one: 1, a scalar on the device.
    """

    shifts: Tensor
    low: Tensor
    high: Tensor
    posterior: list[Tensor]
    growth: list[Tensor]
    latent_of: Tensor | None
    zeros: Tensor
    ones: Tensor
    one: Tensor

    @classmethod
    def of(cls, table: Tensor, totals: Tensor, parts: Sequence[Part]) -> View:
        """The columns of these latents.

        Args:
            table: see :attr:`.SideBySide.table`.
            totals: their columns of :attr:`.SideBySide.totals`.
            parts: latents that lie next to one another.
        """
        row, device, alone = PlainRow, table.device, len(parts) == 1
        table = table[:, parts[0].start : parts[-1].end]
        of_each = [
            torch.full((part.end - part.start,), index, dtype=torch.int32, device=device)
            for index, part in enumerate(parts)
        ]
        return cls(
            table[: row.ZERO + 1, None, None],
            table[row.LOW],
            table[row.HIGH],
            list(table[row.COUNT : row.STEPS].unbind(0)),
            [*table[row.STEPS :].unbind(0), *totals.unbind(0)],
            None if alone else torch.cat(of_each),
            table.new_zeros(len(parts)),
            table.new_ones(len(parts)),
            table.new_ones(()),
        )


class BatchSums(NamedTuple):
    """Sums over the rows of each batch, ``[batches, units]``; of a single one, ``[units]``.

    d and v are mu and ln sigma^2 less their shifts.

    Attributes:
        d: sum of d.
        dd: sum of d^2.
        v: sum of v, clamped.
        expm1: sum of exp(v) - 1.
        clamped: how many v were clamped.
        within: sum of (mu - mean mu)^2.
        pull: ``sum (mu - mean mu) dL/dmu``, that is -g; None without a gradient.
        read: 1, or NaN where something is not finite; see :meth:`gate`.
        stepped: the same of the pull.
        table: all of them, ``[rows, ...]``.
    """

    d: Tensor
    dd: Tensor
    v: Tensor
    expm1: Tensor
    clamped: Tensor
    within: Tensor
    read: Tensor
    table: Tensor
    pull: Tensor | None = None
    stepped: Tensor | None = None

    def gate(self, one: Tensor) -> None:
        """Set ``read`` and ``stepped`` to 1 where all is finite, else to 0 as what is not."""
        if self.pull is None:
            torch.addcmul(one, self.dd, self.expm1, value=0, out=self.read)
        else:  # both at once: of dd and expm1, of d dL/dmu and pull
            torch.addcmul(one, self.table[2:4], self.table[5:9:3], value=0, out=self.table[9:])
        self.table.nan_to_num_(0.0, 0.0, 0.0)


def batch_sums(view: View, batches: Tensor) -> BatchSums:
    """Sum batches of several latents, side by side.

    Every kernel here is paid for at every observed step on a GPU; with a gradient there are seven.

    Args:
        view: shifts and limits, for the units of all latents.
        batches: ``[batches, rows, sides * units]``: ln sigma^2, mu and, if known, dL/dmu.
    """
    (many, rows, width), units = batches.shape, view.low.numel()
    k = width // units - 1
    side_by_side = batches.view(many, rows, 1 + k, units).permute(2, 0, 1, 3)
    fp32 = view.low.new_empty
    # raw v, d, (dL/dmu), d^2, (d dL/dmu), v, expm1, clamped
    blocks = fp32(4 + 2 * k, many, rows, units)
    torch.sub(side_by_side, view.shifts[: 1 + k], out=blocks[: 1 + k])
    raw, d, *_, v, expm1, clamped = blocks.unbind(0)
    torch.mul(d, blocks[1 : 1 + k], out=blocks[1 + k : 1 + 2 * k])
    torch.clamp(raw, view.low, view.high, out=v)
    torch.expm1(v, out=expm1)
    torch.ne(v, raw, out=clamped)
    table = fp32(11 if k > 1 else 7, many, units)
    torch.sum(blocks[1:], 2, out=table[: 3 + 2 * k])
    if many == 1:
        table = table.view(-1, units)
    # of d^2 and, in the same kernel, of d dL/dmu: less what the means of the batch explain
    to = table[3 + 2 * k : 3 + 3 * k]
    torch.addcmul(table[k : 2 * k], table[:1], table[:k], value=-1.0 / rows, out=to)
    if k == 1:
        d, dd, v, expm1, clamped, within, read = table.unbind(0)
        return BatchSums(d, dd, v, expm1, clamped, within, read, table)
    d, gradient, dd, product, v, expm1, clamped, within, pull, read, stepped = table.unbind(0)
    if rows == 1:  # a sample has no mean of its own: it is taken about the window's running mean
        count, _, sum_d = view.posterior[:3]
        pull.copy_(product - (sum_d + d) / (count + 1.0) * gradient)
    return BatchSums(d, dd, v, expm1, clamped, within, read, table, pull, stepped)


def add_sums(view: View, sums: BatchSums, rows: int, closes: bool = True) -> None:
    """Add what batches gave to the window's sums, and to those over steps if their steps are over.

    Args:
        view: where to.
        sums: of one batch or of several.
        rows: of each of them.
        closes: whether each was the last of its optimiser step.
    """
    sums.gate(view.one)
    d, read = sums.d, sums.read
    target, scale = [*view.posterior], [float(rows), *[1.0] * 6]
    first = [read, sums.v, d, sums.expm1, sums.dd, sums.clamped, sums.within]
    second = [read] * 7
    if sums.pull is not None and sums.stepped is not None and closes:
        more, by = growth(view, sums.pull, sums.stepped)
        target, first, second = [*target, *view.growth], [*first, *more], [*second, *by]
        scale += [1.0] * len(more)
    if d.ndim > 1:
        first = [product.sum(0) for product in torch._foreach_mul(first, second)]
        second = [view.one] * len(first)
    torch._foreach_addcmul_(target, first, second, scale)


def growth(view: View, pull: Tensor, stepped: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What is added to the steps, the pulls and their squares, as two factors each."""
    if view.latent_of is None:
        total = pull.sum(-1, keepdim=True)
    else:
        zeros = view.zeros.expand(*pull.shape[:-1], -1)
        total = torch.index_add(zeros, -1, view.latent_of, pull)
    return [stepped, pull, pull, total, total], [stepped, stepped, pull, view.ones, total]
