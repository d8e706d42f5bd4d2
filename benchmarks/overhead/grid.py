"""The grid: batch x units x latents x how often it observes x writer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from collapse_logging import CollapseMonitor
from collapse_logging.writers import TensorBoardWriter

from .blocks import by_round, order
from .training import Size, Training
from .watchers import CHECK_EVERY, Nobody, Ours, Watcher

SIZES = (
    *(Size(*size) for size in product((64, 256), (16, 128), (1, 8))),
    *(Size(256, 128, latents, hidden) for latents, hidden in ((1, 512), (8, 512))),
)
"""The last ones' steps are as long as those of a training of hours."""
WITHOUT, CONTROL = "without", "control"
OBSERVED: dict[str, dict[str, Any]] = {
    "every step": {"observe_every": 1, "max_rows": None},
    "budget": {},
}
WRITERS = ("none", "TensorBoard")
ARMS = {ways: ", ".join(ways) for ways in product(OBSERVED, WRITERS)}
BLOCK = CHECK_EVERY // 2
"""Steps of a block: the two of a round are one check, and hold each arm's share of it."""
ROUNDS, WARM_UP = 6, 2 * CHECK_EVERY


def grid(tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every size with every way of watching; ``tell`` is told what is measured now."""
    return [row for size in SIZES for row in rows(size, ROUNDS, tell)]


def rows(size: Size, rounds: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """One size: a row for each way of watching, in turns with nobody and with a control."""
    tell(f"grid: batch {size.batch}, {size.latents} latents of {size.units} units")
    with watchers() as arms:
        figures = in_turns(Training(size), arms, rounds)
        every = {name: arms[name].every for name in ARMS.values()}
    about = {"batch": size.batch, "units": size.units, "latents": size.latents}
    base = {**about, "steps": 2 * BLOCK, WITHOUT: figures[WITHOUT], CONTROL: figures[CONTROL]}
    return [
        {
            **base,
            "observed": observed,
            "every": every[name],
            "writer": writer,
            "watched": figures[name],
        }
        for (observed, writer), name in ARMS.items()
    ]


@contextmanager
def watchers() -> Iterator[dict[str, Any]]:
    """Nobody twice, and a monitor for each way of watching; closed at the end."""
    made: dict[str, Any] = {WITHOUT: Nobody(), CONTROL: Nobody()}
    with tempfile.TemporaryDirectory() as folder:
        for (observed, writer), name in ARMS.items():
            board = writer == "TensorBoard"
            writers = [TensorBoardWriter(Path(folder, name))] if board else []
            monitor = CollapseMonitor(writers, verbose=False, **OBSERVED[observed])
            made[name] = Ours(monitor)
        try:
            yield made
        finally:
            for watcher in made.values():
                watcher.close()


def in_turns(
    training: Training, arms: dict[str, Watcher], rounds: int, steps: int = BLOCK
) -> dict[str, list[list[float]]]:
    """Each arm's seconds by round, a row of :class:`Block` each, after a warm-up.

    The warm-up is of one piece, so that a budget is measured as in a training that is watched
    throughout, and a multiple of the check's period.
    """
    for watcher in arms.values():
        training.block(watcher, WARM_UP if isinstance(watcher, Ours) else BLOCK)
    played = order(list(arms), rounds)
    blocks = [training.block(arms[name], steps) for name in played]
    return {name: plain(values) for name, values in by_round(played, blocks).items()}


def plain(values: np.ndarray) -> list[list[float]]:
    """As JSON keeps it: microseconds are enough."""
    return [[round(float(value), 6) for value in row] for row in values]
