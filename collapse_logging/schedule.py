"""How many steps there are from one check to the next: a number, or numbers by step."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from .arguments import got, require_count

Frequency = int | Mapping[int, int]
"""Steps from one check to the next; or a schedule, the step from which each number holds."""

_EXAMPLE = "e.g. {0: 100, 1000: 50, 5000: 20}"


def checked_frequency(value: object) -> Frequency:
    """A frequency with plain integers, a schedule in the order of its steps.

    Args:
        value: a count, or a mapping of steps to counts. A step may be a text of digits, as JSON
            and some configuration files have it.

    Raises:
        TypeError, ValueError: neither.

    >>> checked_frequency({"1000": 50, "0": 100})
    {0: 100, 1000: 50}
    """
    if not isinstance(value, Mapping):
        require_count("check_frequency", value, at_least=1)
        return operator.index(value)  # type: ignore[arg-type]
    found = {_step(step): count for step, count in value.items()}
    for step, count in found.items():
        require_count(f"check_frequency from step {step}", count, at_least=1)
    if 0 not in found or len(found) < len(value):
        raise ValueError(
            f"check_frequency: expected a schedule that begins at step 0 and has each step once, "
            f"{_EXAMPLE}, got the steps {list(value)}."
        )
    return {step: operator.index(found[step]) for step in sorted(found)}


def steps_of_window(frequency: Frequency, after: int) -> int:
    """Steps of the window that begins after step ``after``.

    A number that holds from some step on holds for the window that is open then, too: it ends as
    soon as it has so many steps.

    >>> schedule = {0: 100, 1000: 50}
    >>> [steps_of_window(schedule, step) for step in (0, 900, 930, 970, 1000)]
    [100, 100, 70, 50, 50]
    """
    if not isinstance(frequency, Mapping):
        return frequency
    begins = list(frequency)
    for begin, end in zip(begins, begins[1:], strict=False):
        steps = max(frequency[begin], begin - after)
        if after + steps < end:
            return steps
    return max(frequency[begins[-1]], begins[-1] - after)


def _step(step: object) -> int:
    if isinstance(step, str) and step.strip().isdecimal():
        return int(step)
    if isinstance(step, str):
        raise TypeError(
            f"check_frequency: expected a schedule by step, {_EXAMPLE}, got {got(step)}."
        )
    require_count("check_frequency: a step of the schedule", step, at_least=0)
    return operator.index(step)  # type: ignore[arg-type]
