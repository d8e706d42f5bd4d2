"""How a latent's sums lie in memory: the rows of the tables, and their shape."""

from __future__ import annotations

from typing import NamedTuple


class Row:
    """Rows of :attr:`Statistics.sums`."""

    COUNT, SHIFT, LV_SHIFT, D, DD, EXPM1, LV, WITHIN, FREEDOM, NONFINITE, CLAMPED = range(11)
    ALL = 11


class GrowthRow:
    """Rows of :attr:`Statistics.growth_sums`."""

    PENDING, G, GG, STEPS = range(4)


class PlainRow:
    """Rows of :attr:`SideBySide.table`.

    The first three are subtracted from ln sigma^2, mu and dL/dmu; ``LOW`` and ``HIGH`` are the
    limits of the first less its shift; ``WITHIN`` sums the squares about each batch's own mean;
    what follows ``HIGH`` starts at 0. The pull is -g.
    """

    LV_SHIFT, SHIFT, ZERO, LOW, HIGH = range(5)
    COUNT, LV, D, EXPM1, DD, CLAMPED, WITHIN, STEPS, PULL, PULL_SQUARED = range(5, 15)
    ALL = 15


class Shape(NamedTuple):
    """Shape of a latent's statistics.

    Attributes:
        positions: positions that are kept.
        units: units of the latent.
        stride: every which position is kept.
        all_positions: positions that the latent has.
        rows: sums by position and unit.
        family: name of its family, "" for a diagonal Gaussian.
    """

    positions: int
    units: int
    stride: int
    all_positions: int
    rows: int = 11
    family: str = ""

    @property
    def size(self) -> int:
        """Length of the packed vector."""
        return self.rows * self.positions * self.units + 4 * (self.units + 1)


class FamilyRow:
    """First rows of :attr:`FamilyStatistics.sums`; the family's own follow."""

    COUNT, NONFINITE = range(2)
    OWN = 2
