"""Columns of a terminal: a Chinese letter takes two, and may stand at the end of a line."""

from __future__ import annotations

import re
import unicodedata

_WIDE = "\u2e80-\uffef"
"""Chinese letters and their punctuation; between two of them a line may end."""

_PIECE = rf"\s+|（*(?:[^\s{_WIDE}]+|[{_WIDE}])[，。；：、）！？…]*"
"""Spaces, a word or a Chinese letter; a comma stays behind it, a bracket before it."""


def columns(text: str) -> int:
    """How many columns a text takes.

    >>> columns("z 塌缩")
    6
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, width: int, right: bool = False) -> str:
    """The text with spaces behind it, or before it, so that it takes ``width`` columns."""
    space = " " * (width - columns(text))
    return space + text if right else text + space


def wrapped(text: str, width: int, indent: str = "", break_words: bool = False) -> list[str]:
    """A text in lines of at most so many columns.

    Args:
        text: begins with its own spaces.
        width: columns.
        indent: begins every line but the first.
        break_words: cut a word that is longer than a line, instead of leaving it whole.
    """
    lines = [text[: len(text) - len(text.lstrip())]]
    for piece in _pieces(text.strip(), width if break_words else None):
        full = columns(lines[-1] + piece) > width and not piece.isspace()
        if full and lines[-1].strip():
            lines.append(indent)
        if lines[-1].strip() or not piece.isspace():
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(text: str, longest: int | None) -> list[str]:
    found: list[str] = re.findall(_PIECE, text)
    if longest is None:
        return found
    return [p[i : i + longest] for p in found for i in range(0, len(p), longest)]
