"""Patients for the sequential set VAE: a folder of Parquet files, or the synthetic cohort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from ..arguments import checked_count, require_count
from . import cohort, folder
from .events import Events, Patient, Variables, collate

_SURVEYED = 500
"""Patients of the synthetic cohort from whom means and deviations are taken."""


class _Split(Dataset[Patient]):
    """Patients that are read when they are asked for, and not kept."""

    def __init__(
        self,
        sources: list[Any],
        read: Callable[[Any], Events],
        variables: Variables,
        most_sets: int | None,
    ) -> None:
        self.sources = sources
        self.read = read
        self.variables = variables
        self.most_sets = most_sets

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Patient:
        source = self.sources[index]
        return self.variables.numbered(self.read(source), source, self.most_sets)


class Patients(pl.LightningDataModule):
    """Patients for training, validation and test, in batches of any number.

    Args:
        data_dir: a folder with ``train/``, ``valid/`` and ``test/``, one Parquet file a patient
            with the columns ``variable, value, minute, set_index``; None: the synthetic cohort.
        batch_size: patients a batch.
        patients: of the synthetic cohort; a tenth each is for validation and for test.
        seed: of the synthetic cohort.
        most_sets: of a patient, the first so many; None: all.
        workers: processes that read; 0: the training's own.

    Attributes:
        variables: the training patients' variables; None before :meth:`setup`.

    Raises:
        TypeError, ValueError: a number out of its range; in :meth:`setup` a folder or a file that
            cannot be used, with the file, the column, the row and how to mend it.
    """

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int = 1,
        patients: int = 1000,
        seed: int = 0,
        most_sets: int | None = 256,
        workers: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("patients", patients, 10),
            ("seed", seed, 0),
            ("workers", workers, 0),
        ):
            require_count(name, value, at_least=least)
        self.data_dir = data_dir
        self.batch_size = batch_size
        self.patients = patients
        self.seed = seed
        self.most_sets = checked_count("most_sets", most_sets)
        self.workers = workers
        self.variables: Variables | None = None
        self._sources: dict[str, list[Any]] = {}

    def setup(self, stage: str = "fit", told: Callable[[int, int], None] | None = None) -> None:
        """Look through all patients once: every file is good, and the variables are known.

        Args:
            stage: Lightning's; all of them need the same.
            told: called with the files read so far and their number.
        """
        if self.variables is None:
            self._sources, self.variables = self._folder(told) if self.data_dir else self._cohort()
        most = getattr(getattr(self.trainer, "lightning_module", None), "hparams", {})
        if (count := len(self.variables.names)) > most.get("variables", count):
            raise ValueError(
                f"variables: expected at least {count}, as many as the training patients have, "
                f"got {most['variables']}; give the model variables={count}."
            )

    def train_dataloader(self) -> DataLoader[Patient]:
        """Shuffled every epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Patient] | list[Any]:
        """Patients that are not trained on."""
        return self._loader("valid") if self._sources["valid"] else []

    def test_dataloader(self) -> DataLoader[Patient] | list[Any]:
        """Patients that are kept for the end."""
        return self._loader("test") if self._sources["test"] else []

    def state_dict(self) -> dict[str, Any]:
        """The variables: a model that is resumed or tested needs their numbers and means."""
        return {} if self.variables is None else dict(vars(self.variables))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Number and standardise as the checkpoint's training did."""
        if state_dict:
            self.variables = Variables(**state_dict)

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader[Patient]:
        assert self.variables is not None  # setup comes first
        read = folder.read if self.data_dir else self._made
        patients = _Split(self._sources[split], read, self.variables, self.most_sets)
        return DataLoader(
            patients,
            self.batch_size,
            shuffle=shuffle,
            num_workers=self.workers,
            collate_fn=collate,
            persistent_workers=self.workers > 0,
        )

    def _made(self, index: int) -> Events:
        return cohort.patient(self.seed, index)

    def _folder(
        self, told: Callable[[int, int], None] | None
    ) -> tuple[dict[str, list[Any]], Variables]:
        found = folder.files(Path(str(self.data_dir)))
        total, done = sum(map(len, found.values())), 0

        def tell(_: Path) -> None:
            nonlocal done
            done += 1
            if told is not None:
                told(done, total)

        return dict(found), folder.survey(found, tell)

    def _cohort(self) -> tuple[dict[str, list[Any]], Variables]:
        sources = {part: list(indices) for part, indices in cohort.splits(self.patients).items()}
        return sources, Variables.of(map(self._made, sources["train"][:_SURVEYED]))
