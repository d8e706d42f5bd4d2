"""The measures of one latent in one window, whatever kind of latent it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from . import cells, measures
from .cells import FamilyReading, Reading
from .family import Family
from .family_measures import family_per_unit, family_reading, family_scalars
from .family_statistics import FamilyStatistics
from .report import Vector
from .rows import Row
from .statistics import Statistics
from .sums import Sums

Window = Statistics | FamilyStatistics

_log = logging.getLogger("collapse_logging")


@dataclass(frozen=True)
class Taken:
    """What a window says.

    Attributes:
        read: its sums on the host.
        samples: in the window.
        dimensions: units times the positions that an average sample has.
        capacity: the most nats that the latent can carry, infinite for a Gaussian.
        enough: samples that a check of this kind needs, beside what every one does.
        family: None for a diagonal Gaussian.
    """

    read: Reading | FamilyReading
    samples: float
    dimensions: float
    capacity: float = float("inf")
    enough: int = 0
    family: type[Family] | None = None

    @property
    def scalars(self) -> dict[str, float]:
        """Every scalar measure by name."""
        read = self.read
        return measures.scalars(read) if isinstance(read, Reading) else family_scalars(read)

    @property
    def per_unit(self) -> Mapping[str, Vector]:
        """Every per-unit measure by name, ``[units]`` each."""
        read = self.read
        return measures.per_unit(read) if isinstance(read, Reading) else family_per_unit(read)


def take(window: Window) -> Taken | None:
    """The measures of a window; None where its family is not known in this process."""
    if isinstance(window, Statistics):
        read = cells.reading(window)
        return Taken(read, measures.samples(read), measures.dimensions(read))
    found = family_reading(window)
    if found is None:
        return None
    return Taken(
        found,
        found.samples,
        found.dimensions,
        found.capacity,
        found.family.enough(len(window.sums) - 2),
        found.family,
    )


class Reader:
    """Takes windows; a latent whose family fails or is not known is told once and left out.

    Args:
        strict: raise what a family raises.
    """

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._told: set[str] = set()

    def take(self, latent: str, window: Window) -> Taken | None:
        """The latent's measures, if they can be taken."""
        try:
            taken = take(window)
        except Exception:
            if self._strict or isinstance(window, Statistics):
                raise
            self._tell(
                "latent %r is left out: the measures of its family %s failed; training and all "
                "else go on.",
                *(latent, window.family),
                traceback=True,
            )
            return None
        if taken is None:
            self._tell(
                "latent %r was saved as one of the family %s, which is not imported; it is left "
                "out until it is observed. Import it before the state is loaded.",
                *(latent, window.family),
            )
        return taken

    def _tell(self, message: str, latent: str, family: str, traceback: bool = False) -> None:
        if latent not in self._told:
            self._told.add(latent)
            _log.warning(message, latent, family, exc_info=traceback)


def merged(window: Window, earlier: Window, latest: Window) -> Window:
    """A window with an earlier one.

    Growth and the counts of what could not be read are those of the latest alone.

    Args:
        window: the latest, or what was merged with it so far.
        earlier: a window of the same kind.
        latest: the latest one.
    """
    both = window.merge(earlier)  # type: ignore[arg-type]
    unread = slice(Row.NONFINITE, None) if isinstance(both, Statistics) else slice(1, 2)
    both.growth_sums = latest.growth_sums
    both.sums[unread] = 0.0
    both.sums[unread, : latest.positions] = latest.sums[unread]
    return both


def same_kind(one: Sums, other: Sums) -> bool:
    """Whether two windows may be merged."""
    mine, theirs = one.shape, other.shape
    return (mine.units, mine.rows, mine.family) == (theirs.units, theirs.rows, theirs.family)
