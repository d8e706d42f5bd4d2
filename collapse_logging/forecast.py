"""A forecast: when a falling information will be below a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .alert_parts import Forecast

_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31)
"""Two-sided 95 % points of Student's t with 1, 2, ... degrees of freedom."""


def slope(history: Sequence[tuple[int, float]]) -> float:
    """Slope of ln information a check; NaN with fewer than two."""
    n = len(history)
    if n < 2:
        return math.nan
    # a few values, several times a check: numpy takes ten times as long
    middle, squares = (n - 1) / 2.0, n * (n * n - 1) / 12.0
    return sum((check - middle) * value for check, (_, value) in enumerate(history)) / squares


def forecast(history: Sequence[tuple[int, float]], limit: float) -> Forecast | None:
    """When information will be below ``limit``, from a straight line through its logarithm.

    Near a collapse information goes as exp(2 gamma t), so its logarithm is linear in time.

    Args:
        history: (training step, ln information) of the last checks, at most ten are read.
        limit: nats.

    Returns:
        None where it does not fall clearly (a slope within its error), is below already, or
        fewer than four checks are known.

    Source: ordinary least squares; the interval is that of calibration (Fieller 1954).
    """
    history = history[-len(_STUDENT) - 2 :]
    n, target = len(history), math.log(limit) if limit > 0 else -math.inf
    if n < 4 or history[-1][1] <= target or math.isinf(target):
        return None
    steps, values = np.array(history, dtype=float).T
    x, y = steps - steps.mean(), values - values.mean()
    b = float(x @ y / (x @ x))
    residual = y - b * x
    variance, t = float(residual @ residual) / (n - 2), _STUDENT[n - 3]
    b_variance = variance / float(x @ x)
    if b >= 0.0 or t * t * b_variance >= b * b:
        return None
    centre, ahead = float(steps.mean()), target - float(values.mean())
    # roots of (ahead - b u)^2 = t^2 (variance / n + b_variance u^2)
    a = b * b - t * t * b_variance
    root = math.sqrt(max((b * ahead) ** 2 - a * (ahead**2 - t * t * variance / n), 0.0))
    bounds = sorted(((b * ahead - root) / a, (b * ahead + root) / a))
    now, likely = history[-1][0], centre + ahead / b
    low, high = (max(round(centre + u), now) for u in bounds)
    far = now + 10 * (now - history[0][0])
    if likely > far:
        return None  # too far ahead to be worth a word
    return Forecast(max(round(likely), now), low, None if high > far else high, limit)
