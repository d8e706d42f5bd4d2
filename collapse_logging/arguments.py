"""Checks of what the caller passed: each error says what was expected, what came, how to mend."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

_MOST = 2**62
"""Training steps may be many; what is larger fits into no tensor."""

_LONGEST = 60


def got(value: object) -> str:
    """A value as an error may show it: a number or a short text; of anything else its type.

    A configuration or a tensor handed in by mistake may hold secrets, and is long.

    >>> got("defualt"), got({"api_key": "..."})
    ("'defualt'", 'a dict')
    """
    if value is None or isinstance(value, (bool, int, float, np.number)):
        return repr(value)[:_LONGEST]
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…")
    return f"a {type(value).__name__}"


def require_one_of(what: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ValueError with the list and the nearest name unless ``value`` is one of them."""
    names = sorted(allowed)
    if isinstance(value, str) and value in names:
        return
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{what}: expected one of {names}, got {got(value)}.{hint}")


def require_number(name: str, value: object, most: float = math.inf) -> None:
    """Raise unless ``value`` is a number from 0 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}: expected a number from 0 to {most:g}, got {got(value)}.")
    if not 0.0 <= float(value) <= most:
        raise ValueError(f"{name}: expected a number from 0 to {most:g}, got {got(value)}.")


def require_count(name: str, value: object, at_least: int) -> None:
    """Raise unless ``value`` is an integer of at least ``at_least``, and no nonsense."""
    expected = f"{name}: expected an integer of at least {at_least}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{expected}, got {got(value)}.")
    if value < at_least:
        raise ValueError(f"{expected}, got {got(value)}.")
    if value > _MOST:
        raise ValueError(f"{expected} and at most {_MOST:,}, got {got(value)}.")


def checked_count(name: str, value: int | None) -> int | None:
    """An integer of at least 1, or None.

    Raises:
        TypeError, ValueError: neither.
    """
    if value is None:
        return None
    require_count(name, value, at_least=1)
    return operator.index(value)


def checked_name(what: str, value: object) -> str:
    """A detector's name itself, which becomes the first part of tags and a folder's name.

    Raises:
        TypeError, ValueError: not a word that is safe in both.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what}: expected a word, e.g. 'collapse', got {got(value)}.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(
            f"{what}: expected up to 64 letters, digits, '.', '_' or '-', e.g. 'collapse', "
            f"got {got(value)}."
        )
    return value


def checked_list(values: Sequence[Any], what: str, good: Callable[[Any], bool]) -> Sequence[Any]:
    """The sequence itself, or TypeError naming what does not belong in it."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise TypeError(f"{what}: expected a list, got {type(values).__name__}; write [...].")
    for value in values:
        if not good(value):
            raise TypeError(f"{what}: {type(value).__name__} does not belong in this list.")
    return values
