"""Schedules of beta, pure functions of the case and the step."""

from __future__ import annotations

from ..cases import Case


def beta_at(case: Case, step: int) -> float:
    """The weight of the KL at a step (from 1).

    ``constant``; ``warmup``: linear from 0 over ``ramp`` steps; ``cyclical``: linear over the
    first half of each ``period``, then held (Fu et al. 2019); ``raised``: ``beta`` until step
    ``at``, then linear to ``beta_after`` over ``ramp`` steps.
    """
    kind, beta = case["schedule"], float(case["beta"])
    if kind == "warmup":
        return beta * min(step / case["ramp"], 1.0)
    if kind == "cyclical":
        return beta * min(2.0 * ((step - 1) % case["period"]) / case["period"], 1.0)
    if kind == "raised":
        share = min(max((step - case["at"]) / max(case["ramp"], 1), 0.0), 1.0)
        return beta + share * (case["beta_after"] - beta)
    return beta
