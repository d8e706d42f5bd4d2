"""TensorBoard event files, through TensorBoard's own reader."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..report import Vector
from .find import EVENTS
from .recording import Recording, Series
from .scalars import prefixes, recording_of


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
    log = logging.getLogger("tensorboard")
    level = log.level
    log.setLevel(logging.ERROR)  # a resumed run is nothing to warn of
    try:
        return EventAccumulator(str(path), size_guidance=guidance).Reload()
    finally:
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
