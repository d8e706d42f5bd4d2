"""What watching costs, and how often a step is observed so that nobody feels it."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np

from .arguments import checked_count

SHARE = 0.005
"""Own time that watching may take, as a share of the step's."""

FEWEST_STEPS, FEWEST_SAMPLES = 10, 512
"""Observed steps and samples that a window keeps: growth is a t value over its steps. With so few
no verdict of the benchmark's changed, see benchmarks/detection/results/thinned.md."""

ROWS = 64
"""Rows of a batch that are read where even so few steps cost more."""

CHECK = 8
"""Observed steps that cost as much as a check, roughly; see benchmarks/overhead."""

_WARM_UP, _MEASURED = 5, 20


class Budget:
    """Measures the own time on the host and chooses every which step is observed, once.

    Over the steps 6 to 25 every step is observed and timed. Then every k-th is, with the least k
    that keeps the own time, a check's with it, within :data:`SHARE` of the window's and the
    window's floors; where that is not enough, :data:`ROWS` rows of each batch.

    ``with budget:`` marks own time.

    Args:
        observe_every: k itself; None: it is chosen.

    Attributes:
        chosen: k; None: not yet.
        rows: rows that are read at most; None: the batch's.

    Raises:
        TypeError, ValueError: not a count.
    """

    def __init__(self, observe_every: int | None = None) -> None:
        self.chosen = checked_count("observe_every", observe_every)
        self.rows: int | None = None
        self._given = self.chosen is not None
        self._measured: list[tuple[float, float]] = []
        self._depth = 0
        self._entered = self._own = 0.0
        self._window = (0.0, 0.0)  # own time, all time
        self._last_end = math.nan

    def __enter__(self) -> Budget:
        """Own time begins; within own time it goes on."""
        self._depth += 1
        if self._depth == 1:
            self._entered = perf_counter()
            if math.isnan(self._last_end):  # the first step began unseen
                self._last_end = self._entered
        return self

    def __exit__(self, *raised: object) -> None:
        """Own time ends."""
        self._depth -= 1
        if self._depth == 0:
            self._own += perf_counter() - self._entered

    def choose_again(self) -> None:
        """Measure anew, for windows of another length; what the user has set stays."""
        if not self._given:
            self.chosen, self.rows, self._measured = None, None, []

    def restore(self, chosen: int | None, rows: int | None) -> None:
        """Go on with what a state has; what the user has set for this run stays."""
        if not self._given:
            self.chosen, self.rows = chosen, rows

    def end_step(self, checked: bool, rows: int, frequency: int) -> None:
        """Note the observed step that ends, and choose k if enough of them were timed.

        Args:
            checked: whether it had a check, whose own time is apart.
            rows: rows of its batch.
            frequency: steps of a window.
        """
        now = perf_counter()
        whole = now - self._last_end
        self._window = self._window[0] + self._own, self._window[1] + whole
        if self.chosen is None and not checked:
            self._choose(self._own, whole - self._own, rows, frequency)
        self._last_end, self._own = now, 0.0

    def spent(self, steps: int) -> dict[str, float]:
        """``overhead_ms`` a step and ``overhead_share`` of all time since the last call.

        Args:
            steps: since then, also those that were not observed.
        """
        (own, whole), self._window = self._window, (0.0, 0.0)
        return {"overhead_ms": 1e3 * own / steps, "overhead_share": own / whole} if whole else {}

    def _choose(self, own: float, training: float, rows: int, frequency: int) -> None:
        self._measured.append((own, training))
        if len(self._measured) < _WARM_UP + _MEASURED:
            return
        owns, trainings = zip(*self._measured[_WARM_UP:], strict=True)
        own = float(np.median(owns))
        left = SHARE * float(np.median(trainings)) - own * CHECK / frequency
        wanted = math.ceil(own / left) if left > 0.0 else frequency
        most = min(frequency // FEWEST_STEPS, frequency * rows // FEWEST_SAMPLES)
        self.chosen = max(1, min(wanted, most))
        if (
            self.chosen < wanted
            and rows > ROWS
            and frequency // self.chosen * ROWS >= FEWEST_SAMPLES
        ):
            self.rows = ROWS
        self._measured = []
