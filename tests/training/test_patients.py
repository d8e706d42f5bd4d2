"""Patients for a Trainer: read when they are asked for, the same numbers after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from collapse_logging.training.patients import Patients
from collapse_logging.training.seqset import SeqSetVAE
from collapse_logging.training.text import Text, TextVAE

from .parts import made_folder


def trainer(folder: Path, **settings: Any) -> pl.Trainer:
    """One epoch, told by nobody."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return pl.Trainer(accelerator="cpu", default_root_dir=folder, max_epochs=1, **quiet, **settings)


def test_a_file_is_read_when_its_patient_is_asked_for(tmp_path: Path) -> None:
    """Nothing is kept: what is gone after the look-through is missed at its turn, by its name."""
    pytest.importorskip("pyarrow")
    data = Patients(str(made_folder(tmp_path / "data")), batch_size=3)
    data.setup()
    train = data.train_dataloader().dataset
    assert len(train) == 8  # type: ignore[arg-type]
    (tmp_path / "data" / "train" / "patient_000005.parquet").unlink()
    assert len(train[4].hour) > 5
    with pytest.raises(ValueError, match=r"patient_000005\.parquet: .* the file is not there"):
        train[5]


@pytest.mark.parametrize("size", [1, 3])
def test_a_folder_is_trained_validated_and_tested_on(size: int, tmp_path: Path) -> None:
    """One patient a batch or three: every patient of a part once, all parts logged."""
    pytest.importorskip("pyarrow")
    told = []
    data = Patients(str(made_folder(tmp_path / "data")), batch_size=size)
    data.setup(told=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 12) for i in range(12)]
    model = SeqSetVAE(24, hidden=32)
    run = trainer(tmp_path)
    run.fit(model, data)
    assert run.global_step == -(-8 // size)
    assert {"train_loss", "train_recon", "train_kl", "beta"} <= run.callback_metrics.keys()
    assert {"valid_loss", "valid_recon", "valid_kl"} <= run.callback_metrics.keys()
    run.test(model, data, verbose=False)
    assert run.callback_metrics["test_loss"] > 0


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_a_folder_without_validation_trains(tmp_path: Path) -> None:
    """valid/ and test/ may be absent."""
    pytest.importorskip("pyarrow")
    data = Patients(str(made_folder(tmp_path / "data", train=3, valid=0, test=0)))
    run = trainer(tmp_path)
    run.fit(SeqSetVAE(24, hidden=32), data)
    assert run.global_step == 3


def test_workers_give_the_same_patients(tmp_path: Path) -> None:
    """Further processes read, and the order is that of the files."""
    own, others = (Patients(patients=30, workers=workers) for workers in (0, 1))
    for data in (own, others):
        data.setup()
    for one, two in zip(own.val_dataloader(), others.val_dataloader(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_model_with_too_few_variables_is_told(tmp_path: Path) -> None:
    """Before the first step, with the number that it needs."""
    with pytest.raises(
        ValueError, match="expected at least 24.*got 20; give the model variables=24"
    ):
        trainer(tmp_path).fit(SeqSetVAE(20), Patients(patients=40))


def test_variables_keep_their_numbers_over_a_resume(tmp_path: Path) -> None:
    """A folder that has changed since does not renumber what the model has learned."""
    data = Patients(patients=40, seed=1)
    run = trainer(tmp_path)
    run.fit(SeqSetVAE(24, hidden=32), data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    other = Patients(patients=40, seed=2)
    resumed = trainer(tmp_path, max_steps=33)
    resumed.fit(SeqSetVAE(24, hidden=32), other, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert other.variables == data.variables


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
        ({"patients": 3}, "patients: expected an integer of at least 10, got 3"),
        ({"workers": -1}, "workers: expected an integer of at least 0, got -1"),
        ({"most_sets": 0}, "most_sets: expected an integer of at least 1, got 0"),
    ],
)
def test_a_wrong_number_is_told(settings: dict[str, int], message: str) -> None:
    """Expected and got."""
    with pytest.raises(ValueError, match=message):
        Patients(**settings)


def test_text_trains_and_validates(tmp_path: Path) -> None:
    """Ten words a row, the same held-out rows always; a share of the words can be hidden."""
    run = trainer(tmp_path, limit_train_batches=3)
    run.fit(TextVAE(word_dropout=0.5), Text())
    assert run.callback_metrics["valid_recon"] > 10
    (rows,) = next(iter(Text().val_dataloader()))
    assert rows.shape == (450, 10)
    with pytest.raises(ValueError, match="word_dropout: expected a number from 0 to 1, got 2"):
        TextVAE(word_dropout=2)
