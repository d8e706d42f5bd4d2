"""The points about which a latent's sums are taken: set at the first batch, changed to merge."""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import Row

LOG_VARIANCE_LIMIT = 30.0
"""ln sigma^2 is clamped to +-30 before exp, which overflows fp32 at 88.7; clamped ones count."""


def set_shifts(
    sums: Tensor, mean: Tensor, log_variance: Tensor, valid: Tensor, count: Tensor
) -> None:
    """Where nothing was summed yet, shift to the means of this first batch; in place."""
    empty = sums[Row.COUNT] == 0
    n = count.clamp(min=1.0)
    for row, values in ((Row.SHIFT, mean), (Row.LV_SHIFT, log_variance)):
        first = torch.where(valid, values, 0.0).sum(0, dtype=torch.float32) / n
        if row == Row.LV_SHIFT:
            first = first.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
        sums[row] = torch.where(empty & (count > 0), first, sums[row])


def rebase(moments: Tensor, target: Tensor) -> Tensor:
    """``moments`` with their sums taken about the shifts of ``target``; float64."""
    m, t = moments.double(), target.double()
    n, delta, lv_delta = (
        m[Row.COUNT],
        m[Row.SHIFT] - t[Row.SHIFT],
        m[Row.LV_SHIFT] - t[Row.LV_SHIFT],
    )
    m[Row.DD] += 2.0 * delta * m[Row.D] + n * delta**2
    m[Row.D] += n * delta
    m[Row.EXPM1] = lv_delta.exp() * m[Row.EXPM1] + n * torch.expm1(lv_delta)
    m[Row.LV] += n * lv_delta
    return m
