"""Lines for a terminal, as wide as it is, and whole where nobody looks at them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable


def say(lines: Iterable[str]) -> None:
    """Print lines; on a terminal long ones are wrapped at words, below their own indent."""
    columns = width()
    for line in lines:
        print("\n".join(wrapped(line, columns)) if columns else line, flush=True)


def width() -> int | None:
    """Columns of the terminal, None where the output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(line: str, columns: int) -> list[str]:
    """A line in parts of at most so many columns; a word that is longer stays whole."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    parts = textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return parts or [""]
