"""What TensorBoard's text tab says about the numbers: how to read them, and what is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..messages import MEASURES
from ..report import Level
from ..terminal import wrapped
from ..words import catalogue, word
from .base import escape

_CELL = 48
"""Columns that a line of a cell takes."""


def about(settings: Mapping[str, Any]) -> str:
    """How to read what is shown, what to do at each level, and the thresholds in force.

    Args:
        settings: as writers get them; their ``language`` is that of the text, else English.
    """
    language = settings.get("language", "en")
    say = partial(word, language)
    levels = [
        (
            f"{int(level)} {level.emoji} {say(level.name)}",
            say(f"meaning {level.name}"),
            say(f"action {level.name}"),
        )
        for level in Level
    ]
    measures = [(name, say(f"measure {name}"), say(f"end {name}")) for name in MEASURES]
    rows = [
        (
            name,
            str(value) if value != () else say("about none"),
            catalogue(language).get(f"setting {name}", ""),
        )
        for name, value in settings.items()
    ]
    return "\n".join(
        [
            *_table((say("about level"), say("about meaning"), say("about action")), levels),
            "",
            say("about views"),
            say("about numbers"),
            "",
            *_table((say("about number"), say("about is"), say("about end")), measures),
            "",
            say("about settings"),
            "",
            *_table((say("about setting"), say("about value"), say("about is")), rows),
        ]
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of short lines: TensorBoard breaks words anywhere where a long one takes the room."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = ("<br>".join(map(escape, wrapped(cell, _CELL, break_words=True))) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return lines
