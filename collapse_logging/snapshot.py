"""One window as it reaches the host, and how it is laid out in the vector that travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .family_statistics import FamilyStatistics, unpacked
from .plain import Part, plain_statistics
from .rows import PlainRow, Shape
from .statistics import Statistics

EXTRAS = ("mutual_information", "mutual_information_cap", "decoder_gap", "decoder_gap_error")
"""What needs single samples, in nats; it is computed on the device once a check, else NaN."""


@dataclass(frozen=True)
class Seen:
    """One latent in a window.

    Attributes:
        statistics: its sums.
        extras: values by the names in :data:`EXTRAS`; NaN where there is none.
    """

    statistics: Statistics | FamilyStatistics
    extras: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """A window on the host.

    Attributes:
        latents: one :class:`Seen` a name.
        losses: the reconstruction loss of each step, NaN where none was given.
        beta: weight of the KL at the last step, NaN if it was not told.
    """

    latents: Mapping[str, Seen]
    losses: tuple[float, ...] = ()
    beta: float = float("nan")


@dataclass(frozen=True)
class Layout:
    """How a packed window is to be read: plain latents first, side by side.

    Attributes:
        latents: by name, in order, the shape of a latent's own sums, which come before its
            extras; None for one of the plain latents.
        plain: columns of the plain latents.
        losses: how many step losses follow; the last value is beta.
    """

    latents: Mapping[str, Shape | None]
    plain: Mapping[str, Part]
    losses: int

    def split(self, vector: Tensor) -> Snapshot:
        """Read a packed window on the host, ``[15 * plain units + 2 * plain latents + ...]``."""
        units = max((part.end for part in self.plain.values()), default=0)
        table_end = PlainRow.ALL * units
        start = table_end + 2 * len(self.plain)
        table = vector[:table_end].reshape(PlainRow.ALL, units)
        totals = vector[table_end:start].reshape(2, len(self.plain))
        plain = {
            name: plain_statistics(table[:, part.start : part.end], totals[:, at], part)
            for at, (name, part) in enumerate(self.plain.items())
        }
        found = {}
        for name, shape in self.latents.items():
            end = start + (0 if shape is None else shape.size)
            own = plain[name] if shape is None else unpacked(vector[start:end], shape)
            extras = dict(zip(EXTRAS, vector[end : end + len(EXTRAS)].tolist(), strict=True))
            found[name] = Seen(own, extras)
            start = end + len(EXTRAS)
        *losses, beta = vector[start:].tolist()
        return Snapshot(found, tuple(losses), beta)
