"""A table of runs, in plain columns that a person, ``grep`` and a log file can read."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from .runs import Run
from .words import least_information, names, tally, unknown

_HEADER = ("verdict", "level", "step", "information", "latents", "run")
_TO_THE_RIGHT = (2, 3)
_LONGEST = 24
"""Columns that the latents may take: the run is more important."""


def table(runs: Sequence[Run], columns: int | None = None) -> list[str]:
    """A header and a line a run.

    Args:
        runs: in the order to show them.
        columns: of the terminal; long names of runs lose their beginning. None: nothing is cut.
    """
    rows = [_HEADER, *(_row(run) for run in runs)]
    if columns is not None:
        other = [max(map(_width, column)) + 2 for column in zip(*rows, strict=True)][:-1]
        rows = [(*row[:-1], _end(row[-1], max(columns - sum(other), 8))) for row in rows]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(_pad(cell, widths[i], i in _TO_THE_RIGHT) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def notes(runs: Sequence[Run]) -> list[str]:
    """Below a table: how many of each, and why nothing can be told of some."""
    lines = [f"{len(runs)} runs: {tally(run.verdict.word for run in runs)}."]
    lines += [f"{run.name}: {unknown(run.verdict)}" for run in runs if run.verdict.why]
    return lines


def _row(run: Run) -> tuple[str, ...]:
    report, verdict = run.recording.report, run.verdict
    return (
        verdict.word,
        "-" if verdict.level is None else verdict.level.name,
        "-" if report is None else str(report.step),
        least_information(run.recording, verdict.latents),
        _cut(names(verdict.latents)),
        run.name,
    )


def _end(text: str, longest: int) -> str:
    while _width(text) > longest:
        text = "…" + text[2:]
    return text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    """Columns on a terminal; a Chinese letter takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
