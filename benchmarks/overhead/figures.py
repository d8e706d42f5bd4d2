"""What is read off the figures in more than one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .blocks import Interval, bootstrap


def own_share(watched: Any) -> Interval:
    """Own time over the rest of the step, ``[rounds, (wall, processor, own)]``; by median."""
    rounds = np.asarray(watched)
    return bootstrap(rounds[:, 2] / (rounds[:, 0] - rounds[:, 2]))


def own_seconds(baselines: dict[str, Any], arm: str) -> float:
    """Own time of an arm of the baselines, seconds a step; the mean, so that figures count."""
    return float(np.mean(np.array(baselines["arms"][arm])[:, 2]) / baselines["steps"])


def memory_growth(soak: dict[str, Any]) -> float:
    """Resident memory at the end less that at the first count, MiB."""
    held = soak["held"]
    return (held[-1][1] - held[0][1]) / 2**20
