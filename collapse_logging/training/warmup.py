"""The weight of the KL over the steps of a training."""

from __future__ import annotations

import math


def warmed_up(beta: float, step: int, steps: int, logistic: bool = False) -> float:
    """Beta on its way from 0 to its whole value, where it stays.

    Args:
        beta: the whole value.
        step: since the warm-up began, from 0.
        steps: that it takes.
        logistic: along the logistic curve of Bowman et al. (2016), slow at both ends; else along
            a line.

    >>> [warmed_up(0.4, step, 100) for step in (0, 50, 100, 900)]
    [0.0, 0.2, 0.4, 0.4]
    """
    done = step / steps
    if done >= 1:
        return beta
    return beta / (1 + math.exp(-10 * (done - 0.5))) if logistic else beta * done
