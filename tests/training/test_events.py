"""Variables by number, and patients side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse_logging.training.cohort import patient
from collapse_logging.training.events import FARTHEST, Events, Variables, collate

from .parts import cohort


def events(variable: list[str], value: list[float], sets: list[int]) -> Events:
    """Events ten minutes apart."""
    minute = 10.0 * np.arange(len(value))
    return Events(
        np.array(variable, dtype=object),
        np.array(value, dtype=np.float32),
        minute.astype(np.float32),
        np.array(sets),
    )


def test_means_and_deviations_are_those_of_all_values() -> None:
    """Merged patient by patient, as numpy has them of all values at once; 1 for a constant."""
    patients = [patient(0, index) for index in range(20)]
    found = Variables.of([*patients, events(["always"] * 2, [3.0, 3.0], [0, 0])])
    assert list(found.names) == sorted(found.names)
    for name, mean, deviation in zip(found.names, found.mean, found.deviation, strict=True):
        own = [p.value[p.variable == name].astype(np.float64) for p in patients]
        values = np.concatenate(own) if name != "always" else np.array([3.0, 3.0])
        assert mean == pytest.approx(values.mean())
        assert deviation == pytest.approx(values.std() or 1.0)


def test_a_patient_as_tensors() -> None:
    """Numbers, standardised values that are cut where they are absurd, hours, sets from 0."""
    variables = Variables(("a", "b"), (10.0, 0.0), (2.0, 1.0))
    got = variables.numbered(events(["b", "a", "a"], [-1.0, 14.0, 1e9], [4, 4, 6]), "file")
    assert got.variable.tolist() == [1, 0, 0]
    assert got.value.tolist() == [-1.0, 2.0, FARTHEST]
    assert got.of_set.tolist() == [0, 0, 1]
    assert got.hour.tolist() == pytest.approx([0.0, 1 / 3])
    assert got.late.tolist() == pytest.approx([0.0, 1 / 6, 0.0])
    cut = variables.numbered(events(["b", "a", "a"], [0.0, 0.0, 0.0], [4, 4, 6]), "file", 1)
    assert len(cut.value) == 2
    assert len(cut.hour) == 1


def test_a_batch_knows_where_every_set_belongs() -> None:
    """Patients of three lengths: sets in one row, and their places in the padded table."""
    patients = cohort(3)
    lengths = [len(one.hour) for one in patients]
    batch = collate(patients)
    assert batch.real.shape == (3, max(lengths))
    assert batch.real.sum(1).tolist() == lengths
    assert batch.real.flatten().nonzero().flatten().tolist() == batch.place.tolist()
    assert batch.of_set.max() == sum(lengths) - 1
    second = batch.of_set >= lengths[0]
    assert torch.equal(batch.of_set[second][0] - lengths[0], patients[1].of_set[0])
    assert torch.equal(batch.value, torch.cat([one.value for one in patients]))
