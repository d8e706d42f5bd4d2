"""A synthetic cohort: patients with irregular visits, correlated variables and missing values.

No patient is real, and no two are alike: each has a state of four factors that drifts from visit
to visit (an Ornstein-Uhlenbeck process), and every variable follows it in its own way. The sicker
a patient, the sooner the next visit and the more is measured, so what is missing tells something.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .events import Events

Vector = NDArray[np.float64]

FACTORS = 4
"""Circulation, breathing, kidneys, infection; positive is worse."""


class Variable(NamedTuple):
    """How one variable follows the state.

    Attributes:
        middle: mean in its unit, or median where it is ``skewed``.
        spread: standard deviation in its unit, or of its logarithm where it is ``skewed``.
        loadings: on the four factors.
        panel: what it is measured with.
        skewed: whether its logarithm is normal.
    """

    middle: float
    spread: float
    loadings: tuple[float, float, float, float]
    panel: str
    skewed: bool = False


PANELS = {
    "vitals": (0.95, 0.04),
    "gas": (0.25, 0.25),
    "chemistry": (0.2, 0.1),
    "blood": (0.15, 0.15),
}
"""How often a panel is measured at a visit, and how often one variable of it is then missing."""

VARIABLES = {
    "heart_rate": Variable(85, 16, (0.6, 0.2, 0.0, 0.5), "vitals"),
    "systolic_pressure": Variable(122, 19, (-0.8, 0.0, 0.2, -0.3), "vitals"),
    "diastolic_pressure": Variable(66, 12, (-0.7, 0.0, 0.2, -0.3), "vitals"),
    "respiratory_rate": Variable(19, 5, (0.1, 0.7, 0.1, 0.3), "vitals"),
    "oxygen_saturation": Variable(96, 2.2, (-0.1, -0.8, 0.0, -0.1), "vitals"),
    "temperature": Variable(37.0, 0.7, (0.0, 0.0, 0.0, 0.8), "vitals"),
    "coma_scale": Variable(13, 2.5, (-0.4, -0.4, -0.2, -0.3), "vitals"),
    "urine_output": Variable(90, 0.7, (-0.4, 0.0, -0.7, 0.0), "vitals", skewed=True),
    "ph": Variable(7.38, 0.07, (-0.4, -0.5, -0.4, -0.1), "gas"),
    "oxygen_pressure": Variable(95, 0.35, (0.0, -0.8, 0.0, 0.0), "gas", skewed=True),
    "carbon_dioxide_pressure": Variable(41, 8, (0.0, 0.7, -0.2, 0.0), "gas"),
    "bicarbonate": Variable(24, 4, (-0.3, 0.3, -0.6, -0.1), "gas"),
    "lactate": Variable(1.7, 0.55, (0.8, 0.2, 0.1, 0.3), "gas", skewed=True),
    "glucose": Variable(132, 0.3, (0.2, 0.0, 0.1, 0.4), "chemistry", skewed=True),
    "sodium": Variable(139, 4.5, (0.1, 0.0, -0.3, 0.1), "chemistry"),
    "potassium": Variable(4.1, 0.6, (0.1, 0.1, 0.7, 0.0), "chemistry"),
    "chloride": Variable(104, 5.5, (0.1, -0.2, -0.2, 0.1), "chemistry"),
    "creatinine": Variable(1.1, 0.6, (0.2, 0.0, 0.9, 0.1), "chemistry", skewed=True),
    "urea_nitrogen": Variable(22, 0.6, (0.2, 0.0, 0.8, 0.1), "chemistry", skewed=True),
    "bilirubin": Variable(0.8, 0.7, (0.3, 0.0, 0.1, 0.5), "chemistry", skewed=True),
    "haemoglobin": Variable(10.8, 1.9, (-0.4, 0.1, -0.3, -0.1), "blood"),
    "white_cells": Variable(10.5, 0.45, (0.1, 0.0, 0.0, 0.8), "blood", skewed=True),
    "platelets": Variable(205, 0.5, (-0.2, 0.0, -0.1, -0.5), "blood", skewed=True),
    "coagulation_ratio": Variable(1.25, 0.25, (0.3, 0.0, 0.1, 0.4), "blood", skewed=True),
}
"""By name; a panel's variables stand together, units as usual in a hospital."""

LIMITS = {"oxygen_saturation": (50.0, 100.0), "coma_scale": (3.0, 15.0)}

_OWN, _NOISE = 0.4, 0.35
"""Weights of what is a patient's own and of what is one measurement's."""

_FARTHEST = 3.5
"""Spreads that no value goes beyond: a body has its limits."""

_DAY = 24 * 60.0
_LONGEST = 200


def splits(patients: int) -> dict[str, range]:
    """Which patients are for what: a tenth each, the last, for validation and for test.

    >>> {part: len(indices) for part, indices in splits(1000).items()}
    {'train': 800, 'valid': 100, 'test': 100}
    """
    tenth = patients // 10
    first, second = patients - 2 * tenth, patients - tenth
    return {
        "train": range(first),
        "valid": range(first, second),
        "test": range(second, patients),
    }


def patient(seed: int, index: int) -> Events:
    """All events of one patient, the same for the same seed and index, whatever else is made.

    >>> patient(0, 7).value.tolist() == patient(0, 7).value.tolist()
    True
    """
    random = np.random.default_rng([seed, index])
    state, minutes = _course(random)
    own = random.standard_normal(len(VARIABLES))
    there = _measured(random, state)
    visit, variable = np.nonzero(there)
    loadings = np.array([v.loadings for v in VARIABLES.values()])
    noise = random.standard_normal(len(visit))
    z = (state[visit] * loadings[variable]).sum(1) + _OWN * own[variable] + _NOISE * noise
    late = random.integers(0, 10, len(visit)) * (variable >= _first_of_a_laboratory())
    return Events(
        np.array(list(VARIABLES), dtype=object)[variable],
        _in_units(z, variable).astype(np.float32),
        (minutes[visit] + late).astype(np.float32),
        visit.astype(np.int32),
    )


def _course(random: np.random.Generator) -> tuple[Vector, Vector]:
    """State ``[visits, factors]`` and time in minutes ``[visits]`` of every visit."""
    visits = min(6 + random.negative_binomial(2, 0.08), _LONGEST)
    mixing = 0.8 * np.eye(FACTORS) + 0.2
    state = np.empty((visits, FACTORS))
    now = mixing @ random.standard_normal(FACTORS)
    minutes = np.zeros(visits)
    drawn, gaps = random.standard_normal((visits, FACTORS)), random.standard_normal(visits)
    for visit in range(visits):
        if visit:
            gap = max(5.0, round(90 * np.exp(0.9 * gaps[visit] - 0.4 * now.mean())))
            stays = np.exp(-gap / _DAY)
            now = stays * now + np.sqrt(1 - stays**2) * (mixing @ drawn[visit])
            minutes[visit] = minutes[visit - 1] + gap
        state[visit] = now
    return state, minutes


def _measured(random: np.random.Generator, state: Vector) -> NDArray[np.bool_]:
    """Which variable is measured at which visit, ``[visits, variables]``; at least one each."""
    visits, names = len(state), list(PANELS)
    sicker = 0.6 * state.mean(1)
    often = np.array([PANELS[name][0] for name in names])
    often = 1 / (1 + np.exp(-(np.log(often / (1 - often)) + sicker[:, None])))
    panels = random.random((visits, len(names))) < often
    of = np.array([names.index(v.panel) for v in VARIABLES.values()])
    kept = np.array([1 - PANELS[v.panel][1] for v in VARIABLES.values()])
    there = panels[:, of] & (random.random((visits, len(VARIABLES))) < kept)
    there[~there.any(1), 0] = True
    return np.asarray(there)


def _in_units(z: Vector, variable: NDArray[np.int64]) -> Vector:
    z = _FARTHEST * np.tanh(z / _FARTHEST)
    middle, spread = (np.array([v[i] for v in VARIABLES.values()])[variable] for i in (0, 1))
    skewed = np.array([v.skewed for v in VARIABLES.values()])[variable]
    value = np.where(skewed, middle * np.exp(spread * np.where(skewed, z, 0)), middle + spread * z)
    for name, (low, high) in LIMITS.items():
        here = variable == list(VARIABLES).index(name)
        value[here] = np.clip(value[here], low, high)
    return np.asarray(value.round(2))


def _first_of_a_laboratory() -> int:
    return next(i for i, v in enumerate(VARIABLES.values()) if v.panel != "vitals")
