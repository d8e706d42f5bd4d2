"""Events of patients: what a file holds, what a batch holds, and the variables by number."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FARTHEST = 5.0
"""Standard deviations beyond which a value is cut: one slip of a keyboard would rule the loss."""


class Events(NamedTuple):
    """One patient's events, each field ``[events]``; sets in order of time.

    Attributes:
        variable: names.
        value: in the variable's unit.
        minute: since admission.
        set_index: which set an event belongs to; rises.
    """

    variable: NDArray[Any]
    value: NDArray[np.float32]
    minute: NDArray[np.float32]
    set_index: NDArray[np.integer[Any]]


class Patient(NamedTuple):
    """One patient as tensors.

    Attributes:
        variable: number of each event's variable, ``[events]``.
        value: standardised, ``[events]``.
        late: hours since the first event of its set, ``[events]``.
        of_set: position of its set, ``[events]``.
        hour: time of each set since the patient's first, ``[sets]``.
    """

    variable: Tensor
    value: Tensor
    late: Tensor
    of_set: Tensor
    hour: Tensor


class Batch(NamedTuple):
    """Patients side by side. Sets of all patients are in one row; only ``place`` knows padding.

    Attributes:
        variable: number of each event's variable, ``[events]``.
        value: standardised, ``[events]``.
        late: hours since the first event of its set, ``[events]``.
        of_set: row of its set, ``[events]``.
        hour: time of each set since its patient's first, ``[sets]``.
        place: where a set stands in the padded table, patient x longest + position, ``[sets]``.
        real: True where the padded table has a set, ``[patients, longest]``.
    """

    variable: Tensor
    value: Tensor
    late: Tensor
    of_set: Tensor
    hour: Tensor
    place: Tensor
    real: Tensor


def collate(patients: Sequence[Patient]) -> Batch:
    """Patients of any lengths as one batch; the table is as wide as the longest needs."""
    sets = [len(patient.hour) for patient in patients]
    longest = max(sets)
    before = torch.tensor([0, *sets[:-1]]).cumsum(0)
    return Batch(
        torch.cat([patient.variable for patient in patients]),
        torch.cat([patient.value for patient in patients]),
        torch.cat([patient.late for patient in patients]),
        torch.cat([p.of_set + first for p, first in zip(patients, before, strict=True)]),
        torch.cat([patient.hour for patient in patients]),
        torch.cat([torch.arange(count) + row * longest for row, count in enumerate(sets)]),
        torch.arange(longest) < torch.tensor(sets).unsqueeze(1),
    )


@dataclass(frozen=True)
class Variables:
    """The variables of a cohort.

    Attributes:
        names: in alphabetical order; a variable's number is its place.
        mean: in each variable's unit, ``[variables]``.
        deviation: its standard deviation, 1 where it never changes, ``[variables]``.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, patients: Iterable[Events]) -> Variables:
        """Names, means and deviations over all events; patients are taken one by one."""
        sums: dict[str, tuple[int, float, float]] = {}
        for events in patients:
            names, of = np.unique(events.variable.astype(str), return_inverse=True)
            counts = np.bincount(of)
            means = np.bincount(of, events.value.astype(np.float64)) / counts
            squares = np.bincount(of, (events.value - means[of]) ** 2)
            for name, *own in zip(names.tolist(), counts, means, squares, strict=True):
                sums[name] = _merged(sums.get(name, (0, 0.0, 0.0)), (own[0], own[1], own[2]))
        found = {name: sums[name] for name in sorted(sums)}
        deviations = (math.sqrt(squares / count) for count, _, squares in found.values())
        middles = tuple(float(mean) for _, mean, _ in found.values())
        return cls(tuple(found), middles, tuple(float(d) or 1.0 for d in deviations))

    def require(self, events: Events, where: object) -> NDArray[np.int64]:
        """The number of each event's variable.

        Args:
            events: of one patient.
            where: the patient's file, for the message.

        Raises:
            ValueError: a variable that is not in the list, with its row and the nearest name.
        """
        numbers = {name: i for i, name in enumerate(self.names)}
        try:
            return np.array([numbers[name] for name in events.variable.tolist()])
        except KeyError as missing:
            name = missing.args[0]
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        row = events.variable.tolist().index(name)
        raise ValueError(
            f"{where}: column 'variable', row {row}: expected one of the {len(self.names)} "
            f"variables of the training files, got {name!r}.{hint} Leave such events out, or "
            "put a patient who has them into train/."
        )

    def numbered(self, events: Events, where: object, most_sets: int | None = None) -> Patient:
        """The events as tensors, names as numbers and values standardised.

        Args:
            events: of one patient, at least one.
            where: the patient's file, for the message.
            most_sets: the first so many sets; None: all.

        Raises:
            ValueError: see :meth:`require`.
        """
        variable = self.require(events, where)
        _, first, of_set = np.unique(events.set_index, return_index=True, return_inverse=True)
        if most_sets is not None:
            kept = of_set < most_sets
            variable, of_set, first = variable[kept], of_set[kept], first[:most_sets]
            events = Events(*(column[kept] for column in events))
        start = np.minimum.reduceat(events.minute, first)
        value = (events.value - np.array(self.mean)[variable]) / np.array(self.deviation)[variable]
        return Patient(
            torch.from_numpy(variable),
            torch.from_numpy(value.clip(-FARTHEST, FARTHEST).astype(np.float32)),
            torch.from_numpy((events.minute - start[of_set]).astype(np.float32) / 60),
            torch.from_numpy(of_set),
            torch.from_numpy((start - start[0]).astype(np.float32) / 60),
        )


def _merged(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    """Count, mean and sum of squares of two groups together (Chan et al. 1979)."""
    count = a[0] + b[0]
    shift = b[1] - a[1]
    return count, a[1] + shift * b[0] / count, a[2] + b[2] + shift**2 * a[0] * b[0] / count
