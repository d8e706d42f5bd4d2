"""What the sums of every kind of latent have in common: their room, their growth, their form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from .rows import GrowthRow, Shape

MAX_CELLS = 65_536
"""Positions times units kept at most; beyond it every k-th position is read."""


class Sums(ABC):
    """Sums of one latent over a window, on the training device, in fp32.

    Args:
        shape: of the sums; there may be room for more positions later.
        device: where they live.

    Attributes:
        sums: ``[rows, positions, units]``; a subclass says what the rows are.
        growth_sums: ``[4, units + 1]``: this step's g so far, and the sums over steps of g, g^2 and
            1; the last column is the whole latent. See :func:`collapse_logging.measures.growth`.
        stride: every which position is kept.
        all_positions: positions that the latent has.
        family: name of its family, "" for a diagonal Gaussian.
        has_new_cells: whether some cell was not observed yet, maybe.
    """

    def __init__(self, shape: Shape, device: torch.device | str | None = None) -> None:
        self.stride, self.all_positions = shape.stride, shape.all_positions
        self.family = shape.family
        with torch.inference_mode(False):
            self.sums = torch.zeros(shape.rows, shape.positions, shape.units, device=device)
            self.growth_sums = torch.zeros(4, shape.units + 1, device=device)
        self.has_new_cells = True
        self._has_gradient = False

    @property
    def positions(self) -> int:
        """Positions that are kept (1 for ``[batch, units]``)."""
        return self.sums.shape[1]

    @property
    def units(self) -> int:
        """Units of the latent."""
        return self.sums.shape[2]

    @property
    def shape(self) -> Shape:
        """What :func:`~.family_statistics.unpacked` needs to know."""
        rows, positions, units = self.sums.shape
        return Shape(positions, units, self.stride, self.all_positions, rows, self.family)

    @property
    def device(self) -> torch.device:
        """Where the sums live."""
        return self.sums.device

    @abstractmethod
    def update(self, batch: Any, mask: Tensor | None = None) -> Tensor | None:
        """Add one batch; gives what :meth:`add_growth` needs, None where there is no growth."""

    @abstractmethod
    def add_growth(self, centred: Tensor, gradient: Tensor) -> None:
        """Add this batch's g to the step's growth."""

    def add(self, batch: Any, mask: Tensor | None, gradient: Tensor | None) -> None:
        """Add one batch, with its growth where there is a gradient."""
        centred = self.update(batch, mask)
        if gradient is not None and centred is not None:
            self.add_growth(centred, gradient)

    @abstractmethod
    def reset(self) -> None:
        """Start the next window; in place."""

    @torch.no_grad()
    def add_pending(self, g: Tensor) -> None:
        """Add one micro-batch's g, ``[units]``, to this step's growth."""
        self.growth_sums[GrowthRow.PENDING] += torch.cat([g, g.sum(0, keepdim=True)])
        self._has_gradient = True

    @torch.no_grad()
    def end_step(self) -> None:
        """Close an optimiser step: its g, if finite, becomes one observation of growth."""
        if not self._has_gradient:
            return
        self._has_gradient = False
        g = self.growth_sums[GrowthRow.PENDING]
        finite = torch.isfinite(g)
        g = torch.where(finite, g, 0.0)
        self.growth_sums[GrowthRow.G :] += torch.stack([g, g * g, finite.float()])
        self.growth_sums[GrowthRow.PENDING].zero_()

    def to(self, device: torch.device) -> None:
        """Move the sums, after the model was moved."""
        self.sums = self.sums.to(device)
        self.growth_sums = self.growth_sums.to(device)

    def pack(self) -> Tensor:
        """All sums as one fp32 vector, ``[rows * positions * units + 4 * (units + 1)]``."""
        return torch.cat([self.sums.reshape(-1), self.growth_sums.reshape(-1)])

    def fill(self, vector: Tensor) -> None:
        """Take the sums that :meth:`pack` wrote; ``vector`` is copied.

        Raises:
            ValueError: the vector's length is not that of such sums.
        """
        shape, cut = self.shape, self.sums.numel()
        if vector.numel() != shape.size:
            raise ValueError(
                f"expected {shape.size} values for {shape.positions} positions of {shape.units} "
                f"units, got {vector.numel()}; it was packed for another shape."
            )
        self.sums = vector[:cut].reshape(self.sums.shape).clone()
        self.growth_sums = vector[cut:].reshape(self.growth_sums.shape).clone()

    def _make_room(self, positions: int) -> None:
        missing = positions - self.positions
        if missing > 0:
            with torch.inference_mode(False):
                room = self.sums.new_zeros(self.sums.shape[0], missing, self.units)
                self.sums = torch.cat([self.sums, room], 1)
            self.has_new_cells = True
