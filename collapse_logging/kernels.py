"""The sums of one step on an NVIDIA GPU in two kernels that read each batch once.

:mod:`.batch_sums` does the same in twelve, which write the batch out again and again between
them. Imported by :mod:`.fused` alone, where a model is on such a GPU: Triton came with its torch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from .rows import PlainRow

SUMS = tl.constexpr(7)
"""Rows of ``partial``: v, d, exp(v) - 1, d^2, clamped, dL/dmu and d dL/dmu."""

_SHIFT, _LV_SHIFT = tl.constexpr(PlainRow.SHIFT), tl.constexpr(PlainRow.LV_SHIFT)
_LOW, _HIGH = tl.constexpr(PlainRow.LOW), tl.constexpr(PlainRow.HIGH)
_COUNT = tl.constexpr(PlainRow.COUNT)
_INFINITE = tl.constexpr(float("inf"))


@triton.jit
def _expm1(x):
    """exp(x) - 1 to the precision of fp32, near 0 too."""
    series = 1.0 + x * (1 / 5) * (1.0 + x * (1 / 6) * (1.0 + x * (1 / 7)))
    series = 1.0 + x * (1 / 2) * (1.0 + x * (1 / 3) * (1.0 + x * (1 / 4) * series))
    return tl.where(tl.abs(x) < 0.35, x * series, tl.exp(x) - 1.0)


@triton.jit
def _pick(values, at, FIRST: tl.constexpr, MANY: tl.constexpr):
    """``values[FIRST + at]`` of a tuple of integers or of pointers, as an integer."""
    picked = at.to(tl.int64) * 0
    for i in tl.static_range(MANY):
        picked = tl.where(at == i, tl.cast(values[FIRST + i], tl.int64), picked)
    return picked


@triton.jit
def _read(sides, strides, kind: tl.constexpr, latent, r, c, inside, LATENTS: tl.constexpr):
    """A block of one side of a latent in fp32, 0 outside."""
    start = _pick(sides, latent, kind * LATENTS, LATENTS).to(sides[kind * LATENTS].dtype)
    stride = _pick(strides, latent, kind * LATENTS, LATENTS)
    return tl.load(start + r[:, None] * stride + c[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["rows"])
def sum_rows(
    sides,
    strides,
    table,
    partial,
    rows,
    ENDS: tl.constexpr,
    LATENTS: tl.constexpr,
    GROWS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sum one split of a latent's rows, over a block of its units.

    The grid is (blocks of units, latents, splits). ``sides`` are the latents' ln sigma^2, mu and,
    if they grow, dL/dmu, ``[rows, units]`` each; ``strides`` are those of their rows; ``ENDS`` are
    the latents' last columns of ``table``, 0 before them; ``partial`` is ``[splits, SUMS, units]``.
    """
    latent, split = tl.program_id(1), tl.program_id(2)
    begin, end = _pick(ENDS, latent, 0, LATENTS), _pick(ENDS, latent, 1, LATENTS)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column, valid, width = begin + c, begin + c < end, ENDS[LATENTS]
    lv_shift = tl.load(table + _LV_SHIFT * width + column, mask=valid, other=0.0)[None, :]
    shift = tl.load(table + _SHIFT * width + column, mask=valid, other=0.0)[None, :]
    low = tl.load(table + _LOW * width + column, mask=valid, other=0.0)[None, :]
    high = tl.load(table + _HIGH * width + column, mask=valid, other=0.0)[None, :]
    zero = tl.zeros([BLOCK_ROWS, BLOCK], tl.float32)
    v, d, e, dd, clamped, gradient, product = zero, zero, zero, zero, zero, zero, zero
    for first in range(split * BLOCK_ROWS, rows, tl.num_programs(2) * BLOCK_ROWS):
        r = first + tl.arange(0, BLOCK_ROWS)
        inside = (r < rows)[:, None] & valid[None, :]
        # all reads first, so that they run at once
        raw = _read(sides, strides, 0, latent, r, c, inside, LATENTS) - lv_shift
        mu = _read(sides, strides, 1, latent, r, c, inside, LATENTS) - shift
        if GROWS:
            pull = _read(sides, strides, 2, latent, r, c, inside, LATENTS)
            gradient += pull
            product += tl.where(inside, mu, 0.0) * pull
        limited = tl.where(raw < low, low, tl.where(raw > high, high, raw))  # NaN stays
        mu = tl.where(inside, mu, 0.0)
        v += tl.where(inside, limited, 0.0)
        d += mu
        e += tl.where(inside, _expm1(limited), 0.0)
        dd += mu * mu
        clamped += tl.where(inside & (limited != raw), 1.0, 0.0)
    to = partial + split * SUMS * width + column
    tl.store(to, tl.sum(v, 0), mask=valid)
    tl.store(to + width, tl.sum(d, 0), mask=valid)
    tl.store(to + 2 * width, tl.sum(e, 0), mask=valid)
    tl.store(to + 3 * width, tl.sum(dd, 0), mask=valid)
    tl.store(to + 4 * width, tl.sum(clamped, 0), mask=valid)
    if GROWS:
        tl.store(to + 5 * width, tl.sum(gradient, 0), mask=valid)
        tl.store(to + 6 * width, tl.sum(product, 0), mask=valid)


@triton.jit
def _total(partial, row: tl.constexpr, column, valid, width, SPLITS: tl.constexpr):
    """One row of ``partial``, summed over the splits."""
    at = (tl.arange(0, SPLITS) * SUMS + row)[:, None] * width + column[None, :]
    return tl.sum(tl.load(partial + at, mask=valid[None, :], other=0.0), 0)


@triton.jit
def _is_finite(x):
    return tl.abs(x) < _INFINITE


@triton.jit
def _add(to, new, known, valid, width, MANY: tl.constexpr):
    """Add ``new`` to so many rows, where all is known and finite."""
    old = ()
    for i in tl.static_range(MANY):  # a read behind a write would wait for it
        old = old + (tl.load(to + i * width, mask=valid, other=0.0),)
    for i in tl.static_range(MANY):
        value = tl.where(known & _is_finite(new[i]), new[i], 0.0)
        tl.store(to + i * width, old[i] + value, mask=valid)


@triton.jit(do_not_specialize=["rows"])
def add(
    partial,
    table,
    totals,
    rows,
    ENDS: tl.constexpr,
    LATENTS: tl.constexpr,
    GROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add what :func:`sum_rows` gave to the window's sums; the grid is (latents,).

    What is not finite leaves its unit out, as in :meth:`.BatchSums.gate`.
    """
    latent, width, all_pull = tl.program_id(0), ENDS[LATENTS], 0.0
    begin, end = _pick(ENDS, latent, 0, LATENTS), _pick(ENDS, latent, 1, LATENTS)
    for first in range(begin, end, BLOCK):
        column = first + tl.arange(0, BLOCK)
        valid, to = column < end, table + _COUNT * width + column
        v = _total(partial, 0, column, valid, width, SPLITS)
        d = _total(partial, 1, column, valid, width, SPLITS)
        e = _total(partial, 2, column, valid, width, SPLITS)
        dd = _total(partial, 3, column, valid, width, SPLITS)
        clamped = _total(partial, 4, column, valid, width, SPLITS)
        known, one = _is_finite(dd) & _is_finite(e), tl.full([BLOCK], 1.0, tl.float32)
        new = (one * rows, v, d, e, dd, clamped, dd - d * d / rows)
        _add(to, new, known, valid, width, 7)
        if GROWS:
            gradient = _total(partial, 5, column, valid, width, SPLITS)
            product = _total(partial, 6, column, valid, width, SPLITS)
            pull = product - d * gradient / rows
            known = _is_finite(product) & _is_finite(pull)
            _add(to + 7 * width, (one, pull, pull * pull), known, valid, width, 3)
            all_pull += tl.sum(tl.where(known & valid, pull, 0.0), 0)
    if GROWS:
        tl.store(totals + latent, tl.load(totals + latent) + all_pull)
        squared = totals + LATENTS + latent
        tl.store(squared, tl.load(squared) + all_pull * all_pull)
