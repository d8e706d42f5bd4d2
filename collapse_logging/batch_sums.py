"""What one batch adds to the sums of plain latents, in as few kernels as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .posterior import Posterior


class Columns(NamedTuple):
    """What is subtracted from a batch before it is summed.

    Attributes:
        shifts: ``[3, 1, units]``: of ln sigma^2, of mu, and 0 for the gradient.
        low: least ln sigma^2 less its shift, ``[units]``.
        high: greatest ln sigma^2 less its shift, ``[units]``.
        one: 1, a scalar on the device.
    """

    shifts: Tensor
    low: Tensor
    high: Tensor
    one: Tensor


class BatchSums(NamedTuple):
    """Sums over one batch, ``[units]`` each; d and v are mu and ln sigma^2 less their shifts.

    Attributes:
        d: sum of d.
        dd: sum of d^2.
        v: sum of v, clamped.
        expm1: sum of exp(v) - 1.
        clamped: how many v were clamped.
        pull: ``sum (mu - mean mu) dL/dmu``, that is -g; None without a gradient.
        read: 1, or NaN where something is not finite; see :meth:`gate`.
        stepped: the same of the pull.
        table: all of them, ``[rows, units]``.
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


def batch_sums(
    columns: Columns, batch: Sequence[Posterior], gradients: Sequence[Tensor] | None
) -> BatchSums:
    """Sum one batch of several latents, side by side.

    Every kernel here is paid for at every observed step; with a gradient there are eight.

    Args:
        columns: shifts and limits, for the units of all latents.
        batch: posteriors ``[batch, units]``, any floating types.
        gradients: dL/dmu of each, or None.
    """
    sides = [*(p.log_variance for p in batch), *(p.mean for p in batch), *(gradients or ())]
    rows, units = batch[0].mean.shape[0], columns.low.numel()
    k = 2 if gradients else 1
    side_by_side = torch.cat(sides, 1).view(rows, 1 + k, units).transpose(0, 1)
    fp32 = columns.low.new_empty
    blocks = fp32(4 + 2 * k, rows, units)  # raw v, d, (dL/dmu), d^2, (d dL/dmu), v, expm1, clamped
    torch.sub(side_by_side, columns.shifts[: 1 + k], out=blocks[: 1 + k])
    raw, d, *_, v, expm1, clamped = blocks.unbind(0)
    torch.mul(d, blocks[1 : 1 + k], out=blocks[1 + k : 1 + 2 * k])
    torch.clamp(raw, columns.low, columns.high, out=v)
    torch.expm1(v, out=expm1)
    torch.ne(v, raw, out=clamped)
    table = fp32(10 if gradients else 6, units)
    torch.sum(blocks[1:], 1, out=table[: 3 + 2 * k])
    if not gradients:
        d, dd, v, expm1, clamped, read = table.unbind(0)
        return BatchSums(d, dd, v, expm1, clamped, read, table)
    d, gradient, dd, product, v, expm1, clamped, pull, read, stepped = table.unbind(0)
    torch.addcmul(product, d, gradient, value=-1.0 / rows, out=pull)
    return BatchSums(d, dd, v, expm1, clamped, read, table, pull, stepped)
