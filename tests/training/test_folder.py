"""A data folder: what is written comes back, and what is wrong is told by file, column and row."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapse_logging.training.cohort import patient
from collapse_logging.training.folder import files, read, survey, write

from .parts import made_folder

pytest.importorskip("pyarrow")
GOOD = {
    "variable": ["heart_rate", "lactate", "heart_rate"],
    "value": [80.0, 1.5, 90.0],
    "minute": [0.0, 4.0, 60.0],
    "set_index": [0, 0, 1],
}


def file_with(folder: Path, **columns: Any) -> Path:
    """A file of three events with other columns; None leaves one out."""
    import pyarrow
    from pyarrow import parquet

    kept = {name: column for name, column in {**GOOD, **columns}.items() if column is not None}
    parquet.write_table(pyarrow.table(kept), folder / "p.parquet")
    return folder / "p.parquet"


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    """All events of a patient, in their order."""
    write(patient(0, 3), tmp_path / "p.parquet")
    for ours, theirs in zip(patient(0, 3), read(tmp_path / "p.parquet"), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_the_same_patient_gives_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the time or the place is in a file."""
    digests = set()
    for name in ("a", "b"):
        write(patient(0, 3), tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"value": np.array([80, 1, 90], dtype=np.int32)},
        {"minute": [0, 4, 60]},
        {"set_index": [0.0, 0.0, 1.0]},
        {"set_index": [7, 7, 9]},
        {"variable": [3, 4, 3]},
        {"remark": ["", "", ""]},
    ],
)
def test_other_peoples_types_are_read(columns: dict[str, Any], tmp_path: Path) -> None:
    """Integers for numbers, numbers for names, sets with gaps between, further columns."""
    events = read(file_with(tmp_path, **columns))
    assert len(events.value) == 3
    assert events.variable.dtype == object


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"minute": None}, r"p\.parquet: expected the columns .* got no 'minute'; there are: "),
        ({"value": None, "Value": [1.0] * 3}, r"got no 'value'; .* Rename 'Value'\?"),
        ({"value": [1.0, 2.0, float("nan")]}, "'value', row 2: expected a finite number, got nan"),
        (
            {"minute": [0.0, float("inf"), 1.0]},
            "'minute', row 1: expected a finite number, got inf",
        ),
        ({"value": [1.0, None, 2.0]}, "'value', row 1: expected a value, got none; an event that"),
        ({"variable": ["a", "b", None]}, "'variable', row 2: expected a value, got none"),
        ({"value": ["1", "2", "high"]}, r"column 'value': expected numbers, got string .*high"),
        ({"set_index": [0, 1, 0]}, "'set_index', row 2: expected a number no smaller .* sort"),
        ({"set_index": [0.0, 0.5, 1.0]}, "'set_index', row 1: expected an integer, got 0.5"),
        ({name: [] for name in GOOD}, "expected at least one event, got no row; delete the file"),
    ],
)
def test_a_bad_column_or_value_is_told_with_its_place(
    columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Which file, which column, which row, and how to mend it."""
    with pytest.raises(ValueError, match=message) as told:
        read(file_with(tmp_path, **columns))
    assert str(tmp_path / "p.parquet") in str(told.value)


def test_a_file_that_is_no_parquet_or_is_gone_is_told(tmp_path: Path) -> None:
    """Its path, and that it is to be written again."""
    (tmp_path / "p.parquet").write_text("variable,value\n")
    with pytest.raises(ValueError, match=r"p\.parquet: expected a Parquet file .* Write it again"):
        read(tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=r"gone\.parquet: .* the file is not there"):
        read(tmp_path / "gone.parquet")


def test_a_folder_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    """A slip of the keyboard is the commonest reason."""
    (tmp_path / "cohort").mkdir()
    with pytest.raises(ValueError, match=r"which is not there\. Did you mean '.*cohort'\?"):
        files(tmp_path / "cohrt")


def test_a_folder_without_training_files_says_what_is_in_it(tmp_path: Path) -> None:
    """Neither a folder of another layout nor an empty train/ is taken."""
    (tmp_path / "training").mkdir()
    with pytest.raises(ValueError, match=r"got no train/; in it: \['training'\]"):
        files(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=r"got no \.parquet file in train/"):
        files(tmp_path)


def test_every_file_is_read_before_training(tmp_path: Path) -> None:
    """A bad file in test/ is found at the start; each good one is told."""
    folder = made_folder(tmp_path)
    told: list[Path] = []
    variables = survey(files(folder), told.append)
    assert len(told) == 12
    assert len(variables.names) == 24
    (folder / "test" / "z.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"test/z\.parquet"):
        survey(files(folder), told.append)


def test_a_variable_that_no_training_file_has_is_told(tmp_path: Path) -> None:
    """With file, row, nearest name and what to do."""
    folder = made_folder(tmp_path)
    file_with(folder / "valid", variable=["heart_rate", "lactat", "heart_rate"])
    with pytest.raises(ValueError, match=r"row 1: .* 'lactat'\. Did you mean 'lactate'\?") as told:
        survey(files(folder), lambda file: None)
    assert str(folder / "valid" / "p.parquet") in str(told.value)
