"""A table of runs, in plain columns that a person, ``grep`` and a log file can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..terminal import columns, padded
from ..words import word
from .runs import Run
from .words import least_information, level_shown, names, tally, unknown

_HEADER = ("verdict", "level", "step", "information", "latents", "run")
_TO_THE_RIGHT = (2, 3)
_LONGEST = 24
"""Columns that the latents may take: the run is more important."""


def table(runs: Sequence[Run], most: int | None = None, language: str = "en") -> list[str]:
    """A header and a line a run.

    Args:
        runs: in the order to show them.
        most: columns of the terminal; long names of runs lose their beginning. None: nothing is
            cut.
        language: of the header and the verdicts.
    """
    header = tuple(word(language, f"column {name}") for name in _HEADER)
    rows = [header, *(_row(run, language) for run in runs)]
    if most is not None:
        other = [max(map(columns, column)) + 2 for column in zip(*rows, strict=True)][:-1]
        rows = [(*row[:-1], _end(row[-1], max(most - sum(other), 8))) for row in rows]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def notes(runs: Sequence[Run], language: str = "en") -> list[str]:
    """Below a table: how many of each, and why nothing can be told of some."""
    counts = tally((run.verdict.word for run in runs), language)
    lines = [word(language, "runs", count=len(runs), tally=counts)]
    lines += [
        word(language, "note", run=run.name, why=unknown(run.verdict, language))
        for run in runs
        if run.verdict.why
    ]
    return lines


def _row(run: Run, language: str) -> tuple[str, ...]:
    report, verdict = run.recording.report, run.verdict
    return (
        word(language, verdict.word),
        "-" if verdict.level is None else level_shown(verdict.level, language),
        "-" if report is None else str(report.step),
        least_information(run.recording, verdict.latents),
        _cut(names(verdict.latents)),
        run.name,
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield padded(cell, width, i in _TO_THE_RIGHT)


def _end(text: str, longest: int) -> str:
    while columns(text) > longest:
        text = "…" + text[2:]
    return text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
