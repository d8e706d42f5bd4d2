"""Sufficient statistics of one latent: the one type behind steps, micro-batches and windows.

All measures are functions of a few sums per unit, and windows or ranks merge exactly. The sums
are *shifted*, taken about the last window's means: ``E[x^2] - E[x]^2`` in fp32 is 54 % wrong at
mean 10 and standard deviation 0.01, and a variance of 1e-8 could not be read beside 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .posterior import Posterior, by_position
from .rows import GrowthRow, Row, Shape
from .shifts import LOG_VARIANCE_LIMIT, rebase, set_shifts

MAX_CELLS = 65_536
"""Positions times units kept at most; beyond it every k-th position is read."""


class Statistics:
    """Per-unit sums of a latent over a window, on the training device, in fp32.

    Attributes:
        sums: ``[11, positions, units]``: count, shift of mu, shift of ln sigma^2, and the sums
            of d, d^2, expm1(v), v (d, v: mu and ln sigma^2 less their shifts), the sum of
            squares within batches with its degrees of freedom, non-finite and clamped elements.
        growth_sums: ``[4, units + 1]``: this step's g so far, and the sums over steps of g, g^2 and
            1; the last column is the whole latent. See :func:`collapse_logging.measures.growth`.
        has_new_cells: whether some cell may not have a shift yet.
    """

    def __init__(
        self, positions: int, units: int, device: torch.device | str | None = None
    ) -> None:
        self.stride = -(-positions // max(1, MAX_CELLS // units))
        self.all_positions = positions
        positions = -(-positions // self.stride)
        with torch.inference_mode(False):
            self.sums = torch.zeros(11, positions, units, device=device)
            self.growth_sums = torch.zeros(4, units + 1, device=device)
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
        """What :meth:`unpack` needs to know."""
        return Shape(self.positions, self.units, self.stride, self.all_positions)

    @property
    def device(self) -> torch.device:
        """Where the sums live."""
        return self.sums.device

    @torch.no_grad()
    def update(self, posterior: Posterior, mask: Tensor | None = None) -> Tensor:
        """Add one batch; no value is read on the host, so nothing waits.

        Args:
            posterior: the batch, any floating type; upcast before any arithmetic.
            mask: True where a sample is real, ``[batch]`` or ``[batch, positions]``.

        Returns:
            The means centred per position, ``[batch, positions, units]``, zero where masked:
            what :meth:`add_growth` needs. One sample is centred on the window's running mean.
        """
        mean = self._read(posterior.mean)
        log_variance = self._read(posterior.log_variance)
        self._make_room(mean.shape[1])
        sums = self.sums[:, : mean.shape[1]]
        valid = finite = torch.isfinite(mean) & torch.isfinite(log_variance)
        if mask is not None:
            mask = self._read(mask.reshape(mask.shape[0], -1, 1)).bool()
            valid = finite & mask
        count = valid.sum(0, dtype=torch.float32)
        if self.has_new_cells:
            set_shifts(sums, mean, log_variance, valid, count)
        d = torch.where(valid, mean - sums[Row.SHIFT], 0.0).float()
        clamped = log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
        v = torch.where(valid, clamped - sums[Row.LV_SHIFT], 0.0).float()
        sum_d = d.sum(0)
        centre = sum_d / count.clamp(min=1.0)
        centred = torch.where(valid, d - centre, 0.0)
        if mean.shape[0] == 1:
            running = (sums[Row.D] + sum_d) / (sums[Row.COUNT] + count).clamp(min=1.0)
            centred = torch.where(valid, d - running, 0.0)
            within = torch.zeros_like(count)
        else:
            within = (centred * centred).sum(0)
        unread = ~finite if mask is None else ~finite & mask
        sums[Row.COUNT] += count
        sums[Row.D :] += torch.stack(
            [
                sum_d,
                (d * d).sum(0),
                torch.expm1(v).sum(0),
                v.sum(0),
                within,
                (count - 1.0).clamp(min=0.0),
                unread.sum(0, dtype=torch.float32),
                (valid & (clamped != log_variance)).sum(0, dtype=torch.float32),
            ]
        )
        return centred

    @torch.no_grad()
    def add_growth(self, centred: Tensor, gradient: Tensor) -> None:
        """Add g, ``-sum_b (mu_b - mean mu) dL/dmu_b``, of what :meth:`update` returned."""
        product = torch.where(centred == 0, 0.0, centred * self._read(gradient).float())
        self.add_pending(-product.sum((0, 1)))

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

    def reset(self) -> None:
        """Start the next window, shifted to the means of this one; in place."""
        with torch.no_grad():
            count = self.sums[Row.COUNT].clamp(min=1.0)
            self.sums[Row.SHIFT] += self.sums[Row.D] / count
            self.sums[Row.LV_SHIFT] += self.sums[Row.LV] / count
            self.sums[Row.COUNT].zero_()
            self.sums[Row.D :].zero_()
            self.growth_sums[GrowthRow.G :].zero_()
        self.has_new_cells = False

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both windows together; exact whatever their shifts.

        Raises:
            ValueError: the two have different units.
        """
        if other.units != self.units:
            raise ValueError(
                f"expected statistics of {self.units} units, got {other.units}; only windows of "
                "the same latent merge."
            )
        merged = Statistics(1, self.units, self.device)
        merged.stride = self.stride
        merged.all_positions = max(self.all_positions, other.all_positions)
        merged._make_room(max(self.positions, other.positions))
        ours, theirs = torch.zeros_like(merged.sums), torch.zeros_like(merged.sums)
        ours[:, : self.positions] = self.sums
        theirs[:, : other.positions] = other.sums
        target = torch.where(ours[Row.COUNT] > 0, ours, theirs)
        total = rebase(ours, target) + rebase(theirs, target)
        merged.sums = total.float()
        merged.sums[Row.SHIFT : Row.LV_SHIFT + 1] = target[Row.SHIFT : Row.LV_SHIFT + 1]
        merged.growth_sums = self.growth_sums + other.growth_sums.to(self.device)
        merged._has_gradient = self._has_gradient or other._has_gradient
        return merged

    def to(self, device: torch.device) -> None:
        """Move the sums, after the model was moved."""
        self.sums = self.sums.to(device)
        self.growth_sums = self.growth_sums.to(device)

    def pack(self) -> Tensor:
        """All sums as one fp32 vector, ``[11 * positions * units + 4 * (units + 1)]``."""
        return torch.cat([self.sums.reshape(-1), self.growth_sums.reshape(-1)])

    @classmethod
    def unpack(cls, vector: Tensor, shape: Shape) -> Statistics:
        """The statistics of ``shape`` that :meth:`pack` wrote; ``vector`` is copied.

        Raises:
            ValueError: the vector's length is not that of such statistics.
        """
        if vector.numel() != shape.size:
            raise ValueError(
                f"expected {shape.size} values for {shape.positions} positions of {shape.units} "
                f"units, got {vector.numel()}; it was packed for another shape."
            )
        statistics = cls(1, shape.units, vector.device)
        statistics.stride, statistics.all_positions = shape.stride, shape.all_positions
        cut = 11 * shape.positions * shape.units
        statistics.sums = vector[:cut].reshape(11, shape.positions, shape.units).clone()
        statistics.growth_sums = vector[cut:].reshape(4, shape.units + 1).clone()
        return statistics

    def _read(self, tensor: Tensor) -> Tensor:
        tensor = by_position(tensor.detach())
        if tensor.shape[1] > 1:
            self.all_positions = max(self.all_positions, tensor.shape[1])
            most = max(1, MAX_CELLS // self.units) * self.stride
            if self.stride > 1 or tensor.shape[1] > most:
                return tensor[:, : most : self.stride]
        return tensor

    def _make_room(self, positions: int) -> None:
        missing = positions - self.positions
        if missing > 0:
            with torch.inference_mode(False):
                room = torch.zeros(11, missing, self.units, device=self.device)
                self.sums = torch.cat([self.sums, room], 1)
            self.has_new_cells = True
