"""What is held of one latent: its sums, and the batches that wait for their gradient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from .family import Family
from .family_statistics import FamilyStatistics
from .observation import Observation
from .posterior import Posterior
from .statistics import Statistics

_MOST_PENDING = 16


@dataclass
class Gathered:
    """One latent.

    Attributes:
        units: how many it has.
        statistics: its own sums; None: they lie side by side with those of others.
        pending: batches that wait for their gradient.
        last: the last batch of the step that ended last; None if none or if it was masked.
        was_changed: whether a batch was changed in place after it was observed.
    """

    units: int
    statistics: Statistics | FamilyStatistics | None = None
    pending: list[Observation] = field(default_factory=list)
    last: Posterior | Family | None = None
    was_changed: bool = False

    def waits_for(self, source: Tensor) -> bool:
        """Whether this very tensor was observed already in this step."""
        return any(observation.source() is source for observation in self.pending)

    def early(self) -> list[Observation]:
        """Take what need not wait for the end of the step: micro-batches do not pile up."""
        pending = self.pending
        ready = [o for o in pending if o.gradient is not None]
        if not ready and len(pending) < _MOST_PENDING:
            return []
        ready = ready or pending
        self.pending = [o for o in pending if o not in ready]
        return self.usable(ready)

    def usable(self, observations: Iterable[Observation]) -> list[Observation]:
        """Let them go from their graphs; without the empty and the changed."""
        usable = []
        for observation in observations:
            observation.release()
            if not observation.unchanged:
                self.was_changed = True
            elif observation.rows:
                usable.append(observation)
        return usable
