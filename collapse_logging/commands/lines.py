"""Lines for a terminal, as wide as it is, and whole where nobody looks at them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable

from ..terminal import wrapped


def say(lines: Iterable[str]) -> None:
    """Print lines; on a terminal long ones are wrapped at words, below their own indent."""
    columns = width()
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        print("\n".join(wrapped(line, columns, indent)) if columns else line, flush=True)


def width() -> int | None:
    """Columns of the terminal, None where the output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
