"""Where in a folder the records are, and which of several to prefer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..writers.ledger import LEDGER_NAME

LEDGER, EVENTS, WANDB = "ledger", "event files", "W&B file"


@dataclass(frozen=True)
class Source:
    """Something that can be read.

    Attributes:
        kind: ``"ledger"``, ``"event files"`` or ``"W&B file"``.
        path: the file; for event files their folder, or one of them.
    """

    kind: str
    path: Path


def find(path: Path, unreadable: Callable[[OSError], object] | None = None) -> list[Source]:
    """All records at a path: the file itself, or everything below the folder.

    Where there is a ledger, which is lossless, the event files and W&B files beside it are left
    out. Links to folders and hidden folders are not entered.

    Args:
        path: a folder or a file.
        unreadable: called with the error of each folder that cannot be listed.

    Raises:
        ValueError: there is nothing at the path, or a file of another kind.
    """
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder.")
    if path.is_file():
        kind = kind_of(path.name) or (LEDGER if path.suffix == ".jsonl" else None)
        if kind is None:
            raise ValueError(
                f"{path}: expected a run folder, a {LEDGER_NAME}, a TensorBoard event file or a "
                ".wandb file."
            )
        return [Source(kind, path)]
    return _preferred(walk(path, unreadable))


def kind_of(name: str) -> str | None:
    """What kind of record a file of this name is, or None."""
    if name == LEDGER_NAME:
        return LEDGER
    if "tfevents" in name:
        return EVENTS
    return WANDB if name.endswith(".wandb") else None


def walk(
    root: Path, unreadable: Callable[[OSError], object] | None = None, most: int | None = None
) -> list[Source]:
    """All records below a folder, also what a ledger says better; in the first ``most`` folders."""
    found: dict[Source, None] = {}
    for folder, folders, files in islice(os.walk(root, onerror=unreadable), most):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            kind, here = kind_of(name), Path(folder)
            if kind is not None:
                found[Source(kind, here if kind == EVENTS else here / name)] = None
    return list(found)


def _preferred(sources: list[Source]) -> list[Source]:
    """Leave out what a ledger says better.

    Lightning puts the ledger one folder below the event files, the monitor beside them; W&B files
    are in ``<folder>/wandb/<run>/``.
    """
    ledgers = [source.path for source in sources if source.kind == LEDGER]
    events = {source.path for source in sources if source.kind == EVENTS}
    covered = {path.parent for path in ledgers}
    covered |= {path.parent.parent for path in ledgers if path.parent not in events}
    return [
        source
        for source in sources
        if source.kind == LEDGER
        or (source.kind == EVENTS and source.path not in covered)
        or (source.kind == WANDB and not _below(_wandb_home(source.path), ledgers))
    ]


def _wandb_home(path: Path) -> Path:
    home = path.parent.parent
    return home.parent if home.name == "wandb" else path.parent


def _below(folder: Path, paths: Iterable[Path]) -> bool:
    return any(folder in path.parents for path in paths)
