"""One step's sums by our own kernels, where the GPU and what is installed allow them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import Parameter

_BLOCK_ROWS, _BLOCK, _TILE = 32, 32, 8192
"""Rows and units of a program, and how many partial sums another adds up at once."""

_PROGRAMS = 512
"""Programs that keep a GPU busy."""

_MOST_LATENTS, _MOST_SPLITS = 16, 16

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)

_log = logging.getLogger("collapse_logging")


_works = True
"""False in the whole process after the first failure."""


def add_fused(
    table: Tensor, totals: Tensor, ends: tuple[int, ...], sides: Sequence[Tensor]
) -> bool:
    """Add a batch of all plain latents to their sums, in two kernels; or say that it was not.

    Whatever is not as the kernels want it is left to :func:`.batch_sums`, and so is everything
    once they have failed: without a C compiler, say, Triton cannot build them.

    Args:
        table: see :attr:`.SideBySide.table`.
        totals: see :attr:`.SideBySide.totals`.
        ends: 0, and of each latent the column behind its last.
        sides: ``[rows, units]`` each: all ln sigma^2, all mu, then all dL/dmu, if they are known.
    """
    global _works
    if not (_works and _on_gpu(table) and _fit(sides, len(ends) - 1)):
        return False
    try:
        with torch.cuda.device_of(table):  # type: ignore[no-untyped-call]
            launch(table, totals, ends, sides)
    except Exception as error:  # whatever Triton, a compiler or a full disk may raise
        _works = False
        _log.info("sums are made by torch's own kernels, which takes the GPU longer: %s", error)
    return _works


def launch(table: Tensor, totals: Tensor, ends: tuple[int, ...], sides: Sequence[Tensor]) -> None:
    """Both kernels, on the current stream."""
    kernels, latents, rows = _kernels(), len(ends) - 1, sides[0].shape[0]
    sides = [side if side.stride(1) == 1 else side.contiguous() for side in sides]
    block, blocks, splits, tile = _plan(ends, rows)
    common = {"ENDS": ends, "LATENTS": latents, "GROWS": len(sides) > 2 * latents}
    partial = table.new_empty(splits, kernels.SUMS.value, ends[-1])
    kernels.sum_rows[(blocks, latents, splits)](
        tuple(sides),
        tuple(side.stride(0) for side in sides),
        table,
        partial,
        rows,
        **common,
        BLOCK_ROWS=_BLOCK_ROWS,
        BLOCK=block,
        num_warps=8,
    )
    kernels.add[(latents,)](
        partial, table, totals, rows, **common, SPLITS=splits, BLOCK=tile, num_warps=4
    )


@functools.lru_cache(maxsize=64)
def _plan(ends: tuple[int, ...], rows: int) -> tuple[int, int, int, int]:
    """Units of a block, blocks, splits of the rows, and units that are added up at once."""
    units = max(after - before for before, after in zip(ends, ends[1:], strict=False))
    width = max(4, _power_of_two(units))
    block = min(_BLOCK, width)
    blocks = -(-units // block)
    splits = _PROGRAMS // (blocks * (len(ends) - 1))
    splits = max(1, min(splits, _MOST_SPLITS, -(-rows // _BLOCK_ROWS), _TILE // width))
    splits = _power_of_two(splits + 1) // 2
    return block, blocks, splits, min(width, _TILE // splits)


def _power_of_two(number: int) -> int:
    """The least that is not below it."""
    return 1 << (number - 1).bit_length()


def _on_gpu(table: Tensor) -> bool:
    """Whether kernels can be launched there now: one that is new cannot be loaded in a capture."""
    return table.is_cuda and not torch.cuda.is_current_stream_capturing()


def _fit(sides: Sequence[Tensor], latents: int) -> bool:
    """Whether the kernels can read them."""
    if latents > _MOST_LATENTS:
        return False
    for at, side in enumerate(sides):
        kind = sides[at - at % latents]
        if type(side) not in (Tensor, Parameter) or side.dtype not in _FLOATS:
            return False
        if side.dtype is not kind.dtype or side.device != kind.device:
            return False
    return True


@functools.cache
def _kernels() -> ModuleType:
    from . import kernels

    return kernels
