"""All recordings at a path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .events import read_events
from .find import EVENTS, LEDGER, WANDB, Source, find
from .ledger import Follower, read_ledger
from .recording import Recording
from .wandb import read_wandb


def recordings(
    path: Path, series: bool = False, follower: Follower | None = None
) -> list[Recording]:
    """What every detector recorded at a path, in the order of the paths.

    What cannot be read is a recording with its ``problem``; one unreadable run does not hide the
    others.

    Args:
        path: a run folder, a folder of runs, a ledger, an event file or a ``.wandb`` file.
        series: with the scalars of every check.
        follower: reads of a ledger only what is new since the last time; without series.

    Raises:
        ValueError: there is nothing at the path, or a file of another kind.
    """
    found, unreadable = sources(path)
    return [*unreadable, *(r for source in found for r in _read(source, series, follower))]


def sources(path: Path) -> tuple[list[Source], list[Recording]]:
    """What there is to read, and a recording for each folder that could not be looked into.

    Raises:
        ValueError: there is nothing at the path, or a file of another kind.
    """
    errors: list[OSError] = []
    found = find(path, errors.append)
    return found, list(_unreadable(errors))


def _read(source: Source, series: bool, follower: Follower | None) -> list[Recording]:
    try:
        if source.kind == EVENTS:
            return read_events(source.path)
        if source.kind == WANDB:
            return read_wandb(source.path)
        if follower is not None:
            return [follower.read(source.path)]
        return [read_ledger(source.path, series)]
    except (OSError, ModuleNotFoundError) as error:
        return [Recording(source.path, source.kind, problem=str(error))]


def _unreadable(errors: Iterable[OSError]) -> Iterable[Recording]:
    for error in errors:
        yield Recording(Path(str(error.filename)), LEDGER, problem=str(error))
