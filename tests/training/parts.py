"""A small cohort, as objects, batches and files."""

from __future__ import annotations

from pathlib import Path

from collapse_logging.training.cohort import patient
from collapse_logging.training.events import Batch, Patient, Variables, collate
from collapse_logging.training.folder import write

SMALL = 30


def cohort(count: int = SMALL, seed: int = 0) -> list[Patient]:
    """Patients as tensors, numbered by what the first thirty have."""
    variables = Variables.of(patient(0, index) for index in range(SMALL))
    return [variables.numbered(patient(seed, index), index) for index in range(count)]


def batch(*indices: int) -> Batch:
    """These patients side by side."""
    patients = cohort(max(indices) + 1)
    return collate([patients[index] for index in indices])


def made_folder(folder: Path, train: int = 8, valid: int = 2, test: int = 2) -> Path:
    """A data folder; patients are numbered through."""
    index = 0
    for part, count in {"train": train, "valid": valid, "test": test}.items():
        (folder / part).mkdir(parents=True)
        for _ in range(count):
            write(patient(0, index), folder / part / f"patient_{index:06}.parquet")
            index += 1
    return folder
