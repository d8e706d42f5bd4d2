"""Codebooks: VQ, residual VQ and FSQ, whose encoder picks one code for each token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arguments import require_count
from ..family import Family
from ..report import Vector


@dataclass(frozen=True, eq=False)
class Codebook(Family):
    """One batch of codes; a unit is one codebook, over all positions.

    A codebook is collapsed when next to all tokens get the same few codes.

    Attributes:
        indices: integers, ``[batch]`` or ``[batch, ...]``; -1 is no code (padding, dropout).
        size: how many codes the codebook has.
        axis: the axis of ``indices`` along which codebooks differ, e.g. -1 for residual VQ's
            ``[batch, positions, quantizers]``; None: there is one.
    """

    counts: ClassVar[tuple[str, ...]] = ("dead_codes", "outside_codes")
    dead: ClassVar[float] = 0.5

    indices: Tensor
    size: int
    axis: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be codes."""
        require_count("Codebook: size", self.size, at_least=1)
        indices, whole = self.indices, (torch.uint8, torch.int16, torch.int32, torch.int64)
        if not isinstance(indices, Tensor) or indices.dtype not in whole:
            came = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
            raise TypeError(
                f"Codebook: expected indices as a tensor of integers, got {came}; pass what the "
                "quantizer picked, not the vectors."
            )
        axes = range(1 - indices.ndim, indices.ndim)
        if indices.ndim == 0 or (
            self.axis is not None and (self.axis not in axes or not self.axis)
        ):
            raise ValueError(
                f"Codebook: expected indices [batch, ...] and an axis behind the batch, got "
                f"{list(indices.shape)} and axis {self.axis}; leave axis out for one codebook."
            )

    @property
    def positions_and_units(self) -> tuple[int, int]:
        """All positions share a codebook; a unit is a codebook."""
        return 1, 1 if self.axis is None else self.indices.shape[self.axis]

    @property
    def all_positions(self) -> int:
        """Tokens of a sample."""
        return math.prod(self.indices.shape[1:]) // self.positions_and_units[1]

    @property
    def rows(self) -> int:
        """One for each code, and one for what is none."""
        return self.size + 1

    @classmethod
    def capacity(cls, rows: int) -> float:
        """The logarithm of the size."""
        return math.log(rows - 1)

    @classmethod
    def little(cls, usual: float, capacity: float) -> float:
        """Half of the capacity: a perplexity of the root of the size; ``dead``: its fourth root."""
        return 0.5 * capacity

    @classmethod
    def enough(cls, rows: int) -> int:
        """Two tokens a code, so that the bias of the entropy can be removed."""
        return 2 * (rows - 1)

    def total(self, mask: Tensor | None) -> Tensor:
        """Tokens, zeros, and how often each code was picked, ``[3 + size, 1, codebooks]``.

        Counted: what each token adds would be one-hot, ``size`` numbers a token.
        """
        books = self.positions_and_units[1]
        axis = self.indices.ndim if self.axis is None else self.axis
        indices = self.indices if self.axis is not None else self.indices.unsqueeze(-1)
        codes = indices.movedim(axis, -1).reshape(indices.shape[0], -1, books)
        real = codes != -1
        if mask is not None:
            real = real & mask
        known = real & (codes >= 0) & (codes < self.size)
        book = torch.arange(books, device=codes.device) * self.size
        place = torch.where(known, codes + book, books * self.size).flatten()
        counts = torch.zeros(books * self.size + 1, device=codes.device)
        counts.index_add_(0, place, torch.ones_like(place, dtype=torch.float32))
        counts = counts[:-1].view(books, self.size).T
        outside = (real & ~known).sum((0, 1), dtype=torch.float32)
        rows = torch.cat([counts.sum(0, keepdim=True), torch.zeros_like(counts[:1]), counts])
        return torch.cat([rows, outside.unsqueeze(0)]).unsqueeze(1)

    @classmethod
    def measures(cls, mean: Vector, count: Vector) -> Mapping[str, Vector]:
        """What the codes can carry, in nats, and how many of them are used.

        The encoder is deterministic, so a code carries ``information = H(usage)``, with the bias
        of few tokens removed: (codes seen - 1) / (2 tokens). ``perplexity`` is its exponential,
        between 1 and the size. ``dead_codes`` are those that were not picked, less those that
        chance alone leaves out, size (1 - 1/size)^tokens; ``usage`` is the share of the others.
        ``outside_codes`` counts indices that are no code: then the size is wrong.

        Source: Miller 1955 (bias of the entropy); van den Oord et al. 2017 (perplexity).
        """
        counts = np.rint(mean[:-1] * count)
        size, tokens = len(counts), np.maximum(counts.sum(0), 1.0)
        share = counts / tokens
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.where(share > 0, share * np.log(share), 0.0).sum(0)
        seen = np.count_nonzero(counts, axis=0)
        entropy = np.minimum(entropy + np.maximum(seen - 1, 0) / (2.0 * tokens), math.log(size))
        missed = size * np.exp(tokens * math.log1p(-1.0 / size)) if size > 1 else 0.0
        dead = np.maximum(size - seen - missed, 0.0)
        return {
            "information": entropy,
            "perplexity": np.exp(entropy),
            "usage": 1.0 - dead / size,
            "dead_codes": dead,
            "outside_codes": mean[-1] * count,
        }
