"""What people use instead, on the same streams: five rules, a verdict every 50 steps.

Each is a function of a record and a latent's name and gives a :class:`~.replay.Series`. The
streams were computed from the posteriors by the recorder, not by the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .record import BASELINE_EVERY
from .replay import Record, Series

_KL, _VARIANCE, _ACTIVE, _SLOPE, _WINDOW = 0.01, 0.1, 0.1, 0.001, 50


def manual_as_shipped(record: Record, latent: str) -> Series:
    """The manual's rule with the KL that it never read: one warning yellow, two or more red.

    The variance is the posterior's, so a low one is the opposite of a collapse; the ratio of
    "active" units counts posterior variances above 0.1.
    """
    return _manual(record, latent, reads_kl=False)


def manual_repaired(record: Record, latent: str) -> Series:
    """The manual's rule with its KL read; all else as it was."""
    return _manual(record, latent, reads_kl=True)


def mean_kl(record: Record, latent: str) -> Series:
    """Red while the mean KL of the last 50 steps is below 0.01 nats."""
    kl = _stream(record, f"{latent}/kl")
    return _series(record, lambda step: 3 * bool(kl[step - _WINDOW : step].mean() < _KL))


def active_units(record: Record, latent: str) -> Series:
    """Red while fewer than 10 % of the units have Var mu > 0.01 (Burda et al. 2016)."""
    share = _stream(record, f"{latent}/window_active_share")
    return _series(record, lambda step: 3 * bool(share[step // BASELINE_EVERY - 1] < 0.1))


def no_unit_above(record: Record, latent: str) -> Series:
    """Red while no unit has a mean KL above 0.1 nats (NVAE's count of active variables)."""
    units = _stream(record, f"{latent}/window_kl_units")
    return _series(record, lambda step: 3 * bool(units[step // BASELINE_EVERY - 1] == 0))


BASELINES: dict[str, Callable[[Record, str], Series]] = {
    "manual, as shipped": manual_as_shipped,
    "manual, repaired": manual_repaired,
    "KL of 50 steps below 0.01": mean_kl,
    "active units below 10 %": active_units,
    "no unit's KL above 0.1": no_unit_above,
}


def _manual(record: Record, latent: str, reads_kl: bool) -> Series:
    kl, variance = _stream(record, f"{latent}/kl"), _stream(record, f"{latent}/variance")
    ratio, loss = _stream(record, f"{latent}/share_above"), _stream(record, "reconstruction")
    axis = np.arange(_WINDOW)

    def level(step: int) -> int:
        now = step - 1
        warnings = [
            reads_kl and kl[now] < _KL,
            variance[now] < _VARIANCE,
            ratio[now] < _ACTIVE,
            np.polyfit(axis, loss[step - _WINDOW : step], 1)[0] > _SLOPE,
        ]
        return (0, 1, 3, 3, 3)[sum(map(bool, warnings))]

    return _series(record, level)


def _stream(record: Record, name: str) -> Any:
    return record.arrays[f"stream/{name}"]


def _series(record: Record, level: Callable[[int], int]) -> Series:
    steps = tuple(range(BASELINE_EVERY, record.case.steps + 1, BASELINE_EVERY))
    return Series(steps, tuple(level(step) for step in steps))
