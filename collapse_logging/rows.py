"""How a latent's sums lie in memory: the rows of the two tables, and their shape."""

from __future__ import annotations

from typing import NamedTuple


class Row:
    """Rows of :attr:`Statistics.sums`."""

    COUNT, SHIFT, LV_SHIFT, D, DD, EXPM1, LV, WITHIN, FREEDOM, NONFINITE, CLAMPED = range(11)


class GrowthRow:
    """Rows of :attr:`Statistics.growth_sums`."""

    PENDING, G, GG, STEPS = range(4)


class Shape(NamedTuple):
    """Shape of a latent's statistics.

    Attributes:
        positions: positions that are kept.
        units: units of the latent.
        stride: every which position is kept.
        all_positions: positions that the latent has.
    """

    positions: int
    units: int
    stride: int
    all_positions: int

    @property
    def size(self) -> int:
        """Length of the packed vector."""
        return 11 * self.positions * self.units + 4 * (self.units + 1)
