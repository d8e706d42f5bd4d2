"""TensorBoard event files, through TensorBoard's own reader."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..report import Vector
from .find import EVENTS
from .recording import Recording, Series
from .scalars import prefixes, recording_of

_log = logging.getLogger("collapse_logging")


def read_events(path: Path) -> list[Recording]:
    """A recording for each detector that wrote to a folder's event files, or to one file.

    Raises:
        ModuleNotFoundError: ``tensorboard`` is not installed.
    """
    scalars = load(path)
    return [
        recording_of(path, EVENTS, name, _series(scalars, name))
        for name in prefixes(scalars.Tags()["scalars"])
    ]


def load(path: Path) -> Any:
    """TensorBoard's accumulator with every scalar of the folder or file.

    Raises:
        ModuleNotFoundError: ``tensorboard`` is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise ModuleNotFoundError(
            "event files are read with the package tensorboard, which is not installed; "
            "pip install 'collapse-logging[tensorboard]'."
        ) from error
    all_of_them, hardly_any = 0, 1
    kinds = ("compressedHistograms", "images", "audio", "histograms", "tensors")
    guidance = {"scalars": all_of_them, **dict.fromkeys(kinds, hardly_any)}
    with _listening() as damage:
        accumulator = EventAccumulator(str(path), size_guidance=guidance).Reload()
    for file in damage:
        _log.warning(
            "%s: an event file is damaged and was read up to the damage: %s. The file is left as "
            "it is; a ledger beside it has every check.",
            path,
            file,
        )
    return accumulator


@contextlib.contextmanager
def _listening() -> Iterator[dict[str, None]]:
    """What TensorBoard says of damage, which it tells at the lowest level only.

    Warnings are not passed on: a resumed run is nothing to warn of.
    """
    log, found = logging.getLogger("tensorboard"), dict[str, None]()

    def take(record: logging.LogRecord) -> bool:
        if "crc32 check" in (message := record.getMessage()):
            found[Path(message.rpartition("(")[2].split(" failed")[0]).name] = None
        return record.levelno >= logging.ERROR

    level = log.level
    log.setLevel(logging.DEBUG)
    log.addFilter(take)
    try:
        yield found
    finally:
        log.removeFilter(take)
        log.setLevel(level)


def _series(accumulator: Any, name: str) -> Series:
    tags = [tag for tag in accumulator.Tags()["scalars"] if tag.startswith(f"{name}/")]
    steps = _column(accumulator, f"{name}/level")[0]
    columns = {}
    for tag in tags:
        at, values = _column(accumulator, tag)
        places = np.searchsorted(steps, at)
        there = (places < len(steps)) & (steps[np.minimum(places, len(steps) - 1)] == at)
        column = np.full(len(steps), math.nan)
        column[places[there]] = values[there]
        columns[tag.removeprefix(f"{name}/")] = column
    return Series(steps, columns)


def _column(accumulator: Any, tag: str) -> tuple[Vector, Vector]:
    """Steps, ascending, and values; a run that began again at a step replaces what was there."""
    kept: list[Any] = []
    for event in accumulator.Scalars(tag):
        while kept and kept[-1].step >= event.step:
            kept.pop()
        kept.append(event)
    return np.array([e.step for e in kept], float), np.array([e.value for e in kept], float)
