"""What happens at which step: a function of seed and step, so that a resumed run meets it again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

BURSTS = ("element", "unit", "everything", "infinite", "huge")
"""What is not finite in a burst; huge is a log variance whose exponential overflows."""


class Expected(NamedTuple):
    """A window that must be reported.

    Attributes:
        step: training step at which it ends.
        steps: training steps in it.
        samples: that were observed of the latents ``z`` and ``positions``.
    """

    step: int
    steps: int
    samples: tuple[int, int]


@dataclass(frozen=True)
class Schedule:
    """A training's length and its chaos.

    Attributes:
        seed: of all that is random.
        steps: training steps; no multiple of ``check_every``, so that the last window is cut off.
        check_every: steps from one check to the next.
        save_every: steps from one checkpoint to the next, in the midst of windows as a rule.
        cycle: steps with one collapse and one recovery.
        kill_within: steps from one kill to the next, at most.
    """

    seed: int
    steps: int = 10_005
    check_every: int = 10
    save_every: int = 37
    cycle: int = 1000
    kill_within: int = 600

    def rows(self, step: int) -> int:
        """Samples in the batch, 0 to 64; now and then none for two windows."""
        if self._chance("drought", step // (2 * self.check_every), 0.02):
            return 0
        return self._random("rows", step).randint(0, 64)

    def beta(self, step: int) -> float:
        """Weight of the KL: too high for a quarter of each cycle."""
        return 30.0 if 0.4 <= step % self.cycle / self.cycle < 0.65 else 0.1

    def copy(self, step: int) -> str:
        """Name of the latent that is a copy of ``z``, bursts and all: a new one now and then."""
        return f"copy_{step // 700}"

    def has_positions(self, step: int) -> bool:
        """Whether the latent with positions is observed: it comes and goes."""
        return self._chance("positions", step // 15, 0.7)

    def burst(self, step: int) -> str | None:
        """Which values of the copied latent are not finite: in a few steps in a row."""
        if not self._chance("burst", step // 4, 0.05):
            return None
        return self._random("kind of burst", step // 4).choice(BURSTS)

    def fails(self, writer: str, step: int) -> bool:
        """Whether a writer raises at this step's report."""
        return self._chance(writer, step, 0.2)

    def lag(self, writer: str, step: int) -> float:
        """Seconds that a writer takes for this step's report: reports queue up behind some."""
        return 0.3 if self._chance(f"lag of {writer}", step, 0.1) else 0.0

    def strike(self, step: int) -> str | None:
        """What becomes of TensorBoard's folder."""
        if not self._chance("strike", step, 1 / 600):
            return None
        return self._random("kind of strike", step).choice(("delete", "rename"))

    def windows(self) -> Iterator[Expected]:
        """The windows in which something was observed; the others are passed over."""
        for start in range(0, self.steps, self.check_every):
            inside = range(start + 1, min(start + self.check_every, self.steps) + 1)
            rows = sum(self.rows(step) for step in inside)
            positions = sum(self.rows(step) for step in inside if self.has_positions(step))
            if rows:
                yield Expected(inside[-1], len(inside), (rows, positions))

    def _chance(self, what: str, step: int, share: float) -> bool:
        return self._random(what, step).random() < share

    def _random(self, what: str, step: int) -> random.Random:
        return random.Random(f"{self.seed} {what} {step}")
