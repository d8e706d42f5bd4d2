"""Blocks of steps in turns, and what can be said of their difference.

A machine is never quiet and never equally fast: what is compared runs in one process, on one
model, forwards and back (A B B A), and is compared round by round. A control, which does the same
as A, is played along and shows what the machine alone makes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

DRAWS = 2000


class Block(NamedTuple):
    """What a block of steps took, in seconds.

    Attributes:
        wall: from its first step to its last.
        processor: of all threads of the process; other people's processes are not in it.
        own: in the calls of what watches, by the clock.
        own_processor: in the same, processor time of the training thread: less what the machine
            gave to other programs in the middle of them.
    """

    wall: float
    processor: float
    own: float
    own_processor: float


class Stopwatch:
    """Adds up the time within its blocks, by the clock and by the thread's processor time."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.processor = 0.0

    def __enter__(self) -> None:
        """Start."""
        processor = time.thread_time()  # the dearer clock outside: it takes a microsecond itself
        self._started = processor, time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        """Stop."""
        processor, wall = self._started
        self.wall += time.perf_counter() - wall
        self.processor += time.thread_time() - processor


class Interval(NamedTuple):
    """An estimate with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def order(arms: Sequence[str], rounds: int) -> list[str]:
    """Whose block comes when: each round all arms forwards and back, the next one arm later.

    >>> order(["A", "B"], 2)
    ['A', 'B', 'B', 'A', 'B', 'A', 'A', 'B']
    """
    played: list[str] = []
    for number in range(rounds):
        first = number % len(arms)
        turn = [*arms[first:], *arms[:first]]
        played += [*turn, *reversed(turn)]
    return played


def by_round(played: Sequence[str], blocks: Sequence[Block]) -> dict[str, np.ndarray]:
    """The two blocks of each arm in a round added up, ``[rounds, 4]`` an arm.

    Raises:
        ValueError: not one block for each that was played.
    """
    if len(played) != len(blocks):
        raise ValueError(
            f"expected {len(played)} blocks, one for each that was played, got {len(blocks)}."
        )
    found = {}
    for arm in dict.fromkeys(played):
        own = np.array([block for name, block in zip(played, blocks, strict=True) if name == arm])
        found[arm] = own[0::2] + own[1::2]
    return found


def bootstrap(
    values: np.ndarray, statistic: Callable[..., Any] = np.median, seed: int = 0
) -> Interval:
    """The statistic of the rounds' values, and its interval over redrawn rounds.

    Args:
        values: one a round, ``[rounds]``.
        statistic: takes an array and an axis, e.g. ``numpy.median``.
        seed: of the draws; the same values give the same interval.
    """
    drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(statistic(values[drawn], axis=1), (0.025, 0.975))
    return Interval(float(statistic(values, axis=0)), float(low), float(high))


def paired_ratio(watched: np.ndarray, without: np.ndarray) -> Interval:
    """Median over rounds of the time with, over the time without."""
    return bootstrap(np.asarray(watched) / np.asarray(without))


def mean_difference(watched: np.ndarray, without: np.ndarray, steps: int) -> Interval:
    """Seconds a step that watching adds, mean over rounds: what is rare and dear is in it."""
    return bootstrap((np.asarray(watched) - np.asarray(without)) / steps, np.mean)
