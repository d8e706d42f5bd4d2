"""What batches add to the sums of plain latents, in as few kernels as possible."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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


class BatchSums(NamedTuple):
    """Sums over the rows of each batch, ``[batches, units]``; of a single one, ``[units]``.

    d and v are mu and ln sigma^2 less their shifts.

    Attributes:
        d: sum of d.
        dd: sum of d^2.
        v: sum of v, clamped.
        expm1: sum of exp(v) - 1.
        clamped: how many v were clamped.
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
    read: Tensor
    table: Tensor
    pull: Tensor | None = None
    stepped: Tensor | None = None

    def gate(self, one: Tensor) -> None:
        """Set ``read`` and ``stepped`` to 1 where all is finite, else to 0 as what is not."""
        if self.pull is None:
            torch.addcmul(one, self.dd, self.expm1, value=0, out=self.read)
        else:  # both at once: of dd and expm1, of d dL/dmu and pull
            torch.addcmul(one, self.table[2:4], self.table[5:8:2], value=0, out=self.table[8:])
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
    table = fp32(10 if k > 1 else 6, many, units)
    torch.sum(blocks[1:], 2, out=table[: 3 + 2 * k])
    if many == 1:
        table = table.view(-1, units)
    if k == 1:
        d, dd, v, expm1, clamped, read = table.unbind(0)
        return BatchSums(d, dd, v, expm1, clamped, read, table)
    d, gradient, dd, product, v, expm1, clamped, pull, read, stepped = table.unbind(0)
    torch.addcmul(product, d, gradient, value=-1.0 / rows, out=pull)
    if rows == 1:  # a sample has no mean of its own: it is taken about the window's running mean
        count, _, sum_d = view.posterior[:3]
        pull.copy_(product - (sum_d + d) / (count + 1.0) * gradient)
    return BatchSums(d, dd, v, expm1, clamped, read, table, pull, stepped)


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
    target, scale = [*view.posterior], [float(rows), *[1.0] * 5, 1.0 / rows]
    first = [read, sums.v, d, sums.expm1, sums.dd, sums.clamped, d]
    second = [*[read] * 6, d]
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
