"""One window as it reaches the host, and how it is laid out in the vector that travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .rows import Shape
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

    statistics: Statistics
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
    """How a packed window is to be read.

    Attributes:
        latents: shapes by name, in order; each latent's sums are followed by its extras.
        losses: how many step losses follow; the last value is beta.
    """

    latents: Mapping[str, Shape]
    losses: int

    def split(self, vector: Tensor) -> Snapshot:
        """Read a packed window, ``[sum of (size + 4) + losses + 1]``, on the host."""
        found, start = {}, 0
        for name, shape in self.latents.items():
            end = start + shape.size
            extras = dict(zip(EXTRAS, vector[end : end + len(EXTRAS)].tolist(), strict=True))
            found[name] = Seen(Statistics.unpack(vector[start:end], shape), extras)
            start = end + len(EXTRAS)
        *losses, beta = vector[start:].tolist()
        return Snapshot(found, tuple(losses), beta)
