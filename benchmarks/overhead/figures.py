"""What is read off the figures in more than one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .blocks import Interval, bootstrap

WALL, PROCESSOR = 0, 1
"""Columns of a round's figures; two further on is the own time by the same clock."""


def own_share(watched: Any, control: Any, clock: int = PROCESSOR) -> Interval:
    """Own time over the rest of the step, median over rounds, ``[rounds, 4]``.

    The control's calls do nothing: what they take is the clock's own, and not counted.
    """
    whole, own = np.asarray(watched)[:, clock], np.asarray(watched)[:, clock + 2]
    return bootstrap((own - np.asarray(control)[:, clock + 2]) / (whole - own))


def step_seconds(row: dict[str, Any]) -> float:
    """Processor time of a step that nobody watches, median over rounds of a row of the grid."""
    return float(np.median(np.asarray(row["without"])[:, PROCESSOR])) / float(row["steps"])


def own_seconds(baselines: dict[str, Any], arm: str, clock: int = PROCESSOR) -> float:
    """Own time of an arm of the baselines, seconds a step, less the control's.

    It is the mean: the manual's figures are rare and dear.
    """
    own, nothing = (np.array(baselines["arms"][n])[:, clock + 2] for n in (arm, "control"))
    return float(np.mean(own - nothing) / baselines["steps"])


def memory_growth(soak: dict[str, Any]) -> float:
    """Resident memory at the end less that at the first count, MiB."""
    held = soak["held"]
    return (held[-1][1] - held[0][1]) / 2**20


def ratio(found: Interval, digits: int = 3) -> str:
    """A ratio with its interval, for people."""
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def share(found: Interval) -> str:
    """A share in per cent with its interval, for people."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*(100 * value for value in found))
