"""The synthetic cohort: a common course, irregular visits, values that are missing."""

from __future__ import annotations

import numpy as np
import pytest

from collapse_logging.training.cohort import LIMITS, VARIABLES, patient, splits
from collapse_logging.training.events import Events

COUNT = 400


@pytest.fixture(scope="module")
def patients() -> list[Events]:
    """Four hundred of them."""
    return [patient(0, index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def visits(patients: list[Events]) -> np.ndarray:
    """A table ``[visits, variables]``, NaN where nothing was measured."""
    names = {name: i for i, name in enumerate(VARIABLES)}
    rows = []
    for events in patients:
        table = np.full((events.set_index[-1] + 1, len(names)), np.nan)
        columns = [names[name] for name in events.variable]
        table[events.set_index, columns] = events.value
        rows.append(table)
    return np.concatenate(rows)


def test_a_patient_is_the_same_whatever_else_is_made() -> None:
    """Seed and index decide alone; another of either is somebody else."""
    for one, two in zip(patient(3, 17), patient(3, 17), strict=True):
        assert one.tolist() == two.tolist()
    assert patient(3, 17).value.tolist() != patient(4, 17).value.tolist()
    assert patient(3, 17).value.tolist() != patient(3, 18).value.tolist()


def test_every_patient_is_whole(patients: list[Events]) -> None:
    """Sets are numbered from 0 without a gap, values are finite and possible, no event is twice."""
    for events in patients:
        assert np.unique(events.set_index).tolist() == list(range(events.set_index[-1] + 1))
        assert np.isfinite(events.value).all()
        assert (events.value > 0).all()
        assert len(set(zip(events.set_index, events.variable, strict=True))) == len(events.value)
        for name, (low, high) in LIMITS.items():
            own = events.value[events.variable == name]
            assert ((own >= low) & (own <= high)).all()


def test_visits_are_irregular(patients: list[Events]) -> None:
    """Lengths of stay differ, and so do the gaps between two visits, by more than their mean."""
    lengths = [events.set_index[-1] + 1 for events in patients]
    assert min(lengths) < 10
    assert max(lengths) > 80
    firsts = [np.unique(events.set_index, return_index=True)[1] for events in patients]
    starts = (events.minute[first] for events, first in zip(patients, firsts, strict=True))
    gaps = np.concatenate([np.diff(start) for start in starts])
    assert (gaps > -10).all()
    assert gaps.std() > gaps.mean()


@pytest.mark.parametrize(
    ("one", "two", "sign"),
    [
        ("creatinine", "urea_nitrogen", 1),
        ("oxygen_saturation", "respiratory_rate", -1),
        ("lactate", "systolic_pressure", -1),
        ("white_cells", "temperature", 1),
    ],
)
def test_variables_follow_a_common_course(
    one: str, two: str, sign: int, visits: np.ndarray
) -> None:
    """What belongs together is correlated, in the direction that a physician expects."""
    names = list(VARIABLES)
    pair = visits[:, [names.index(one), names.index(two)]]
    pair = pair[~np.isnan(pair).any(1)]
    assert len(pair) > 300
    assert sign * np.corrcoef(pair.T)[0, 1] > 0.25


def test_a_patient_resembles_himself(patients: list[Events]) -> None:
    """From one visit to the next a heart rate changes less than from one patient to another."""
    rates = [events.value[events.variable == "heart_rate"] for events in patients]
    steps = np.concatenate([np.diff(rate) for rate in rates])
    others = np.concatenate(rates).std() * 2**0.5
    assert steps.std() < 0.8 * others


def test_what_is_missing_tells_something(visits: np.ndarray) -> None:
    """Vital signs are nearly always there, a laboratory's are not, and more often in the sick."""
    names = list(VARIABLES)
    there = ~np.isnan(visits)
    assert there[:, names.index("heart_rate")].mean() > 0.9
    assert 0.1 < there[:, names.index("lactate")].mean() < 0.4
    pressure = visits[:, names.index("systolic_pressure")]
    low = pressure < np.nanquantile(pressure, 0.2)
    high = pressure > np.nanquantile(pressure, 0.8)
    measured = there[:, names.index("lactate")]
    assert measured[low].mean() > 1.2 * measured[high].mean()


def test_the_last_two_tenths_are_not_trained_on() -> None:
    """Every patient is in one part, in order."""
    parts = splits(57)
    assert [index for part in parts.values() for index in part] == list(range(57))
    assert [len(part) for part in parts.values()] == [47, 5, 5]
