"""A data folder: ``train/``, ``valid/``, ``test/`` with one Parquet file a patient."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .events import Events, Variables

if TYPE_CHECKING:
    import pyarrow

SPLITS = ("train", "valid", "test")
COLUMNS = ("variable", "value", "minute", "set_index")

_MAKE = "collapse-logging make-data DIR writes an example."


def read(file: Path) -> Events:
    """One patient's events.

    Raises:
        ValueError: a file that is no Parquet, lacks a column or holds a value that cannot be
            used: which file, column and row, and how to mend it.
        ModuleNotFoundError: pyarrow is not installed.
    """
    table = _table(file)
    columns = {name: _column(table, name, file) for name in COLUMNS}
    variable, value, minute, sets = columns.values()
    if not len(variable):
        raise ValueError(f"{file}: expected at least one event, got no row; delete the file.")
    _require(file, "value", value, np.isfinite(value), "a finite number")
    _require(file, "minute", minute, np.isfinite(minute), "a finite number")
    whole = np.isfinite(sets) & (sets == np.round(sets))
    _require(file, "set_index", sets, whole, "an integer")
    rises = np.concatenate([[True], np.diff(sets) >= 0])
    how = "a number no smaller than the row's before; sort the rows by set_index and minute"
    _require(file, "set_index", sets, rises, how)
    return Events(
        variable, value.astype(np.float32), minute.astype(np.float32), sets.astype(np.int64)
    )


def write(events: Events, file: Path) -> None:
    """One patient's events as a Parquet file; the same events give the same bytes."""
    arrow, parquet = _pyarrow()
    columns = {
        "variable": arrow.array(events.variable, arrow.string()),
        "value": arrow.array(events.value),
        "minute": arrow.array(events.minute),
        "set_index": arrow.array(events.set_index),
    }
    parquet.write_table(arrow.table(columns), file)


def files(folder: Path) -> dict[str, list[Path]]:
    """The patients' files of each part, sorted by name; a part but ``train`` may be absent.

    Raises:
        ValueError: the folder is not there, or has no file for training.
    """
    if not folder.is_dir():
        near = _near(folder.name, folder.parent)
        raise ValueError(
            f"data_dir: expected a folder with train/, valid/ and test/, got {str(folder)!r}, "
            f"which is not there.{near} {_MAKE}"
        )
    found = {split: sorted((folder / split).glob("*.parquet")) for split in SPLITS}
    if not found["train"]:
        there = sorted(entry.name for entry in folder.iterdir())[:10]
        what = "no .parquet file in train/" if (folder / "train").is_dir() else "no train/"
        raise ValueError(
            f"data_dir: expected {str(folder)!r} to hold train/ with one .parquet file a patient, "
            f"got {what}; in it: {there or 'nothing'}. {_MAKE}"
        )
    return found


def survey(found: dict[str, list[Path]], told: Callable[[Path], None]) -> Variables:
    """Read every file once, so that a bad one is found before training and not hours into it.

    Args:
        found: of :func:`files`.
        told: called with each file that was read.

    Returns:
        The variables of the training files.

    Raises:
        ValueError: see :func:`read`; or a file of another part has a variable that none of the
            training files has.
    """
    variables = Variables.of(_told(found["train"], told))
    for split in SPLITS[1:]:
        for file, events in zip(found[split], _told(found[split], told), strict=True):
            variables.require(events, file)
    return variables


def _told(paths: Iterable[Path], told: Callable[[Path], None]) -> Iterator[Events]:
    for path in paths:
        yield read(path)
        told(path)


def _table(file: Path) -> pyarrow.Table:
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(file) as opened:
            return opened.read(use_threads=False)  # a small file; and workers are forked
    except (arrow.ArrowException, OSError) as error:
        why = "the file is not there" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(
            f"{file}: expected a Parquet file with the columns {', '.join(COLUMNS)}, got: "
            f"{why.splitlines()[0]} Write it again, or delete it."
        ) from error


def _column(table: pyarrow.Table, name: str, file: Path) -> NDArray[Any]:
    """A column as texts or as 64-bit floats, nothing of it missing."""
    if name not in table.column_names:
        near = difflib.get_close_matches(name, table.column_names, n=1)
        hint = f" Rename {near[0]!r}?" if near else ""
        raise ValueError(
            f"{file}: expected the columns {', '.join(COLUMNS)}, got no {name!r}; there are: "
            f"{', '.join(table.column_names) or 'none'}.{hint}"
        )
    column = table.column(name)
    arrow, _ = _pyarrow()
    try:
        column = column.cast(arrow.string() if name == "variable" else arrow.float64())
    except arrow.ArrowException as error:
        kind = "text" if name == "variable" else "numbers"
        raise ValueError(
            f"{file}: column {name!r}: expected {kind}, got {column.type} that cannot be read as "
            f"such ({str(error).splitlines()[0]}); write the column as {kind}."
        ) from error
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise ValueError(
            f"{file}: column {name!r}, row {row}: expected a value, got none; an event that was "
            "not measured is left out, not written empty."
        )
    values: NDArray[Any] = column.to_numpy()
    return values


def _require(
    file: Path, name: str, values: NDArray[Any], good: NDArray[np.bool_], expected: str
) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{file}: column {name!r}, row {row}: expected {expected}, got {values[row]:g}."
        )


def _near(name: str, parent: Path) -> str:
    try:
        names = [entry.name for entry in parent.iterdir() if entry.is_dir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {str(parent / near[0])!r}?" if near else ""


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ModuleNotFoundError(
            "a data folder of Parquet files needs pyarrow, which is not installed; "
            "pip install 'collapse-logging[train]'."
        ) from error
    return pyarrow, pyarrow.parquet
