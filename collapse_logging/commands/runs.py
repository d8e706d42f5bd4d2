"""The runs at the paths that were typed, each with its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..reading import Follower, Recording, Verdict, judge, recordings
from ..words import word
from ..writers.base import printable


@dataclass(frozen=True)
class Run:
    """One detector's record of one run.

    Attributes:
        name: what to call it: its folder, as seen from the path that was typed.
        recording: what was read.
        verdict: what is to be said of it.
    """

    name: str
    recording: Recording
    verdict: Verdict


def look(
    paths: Sequence[Path],
    series: bool = False,
    language: str = "en",
    follower: Follower | None = None,
) -> list[Run]:
    """All runs at these paths, the worst first; what cannot be read is a run with a problem."""
    alone = len(paths) == 1
    found = [run for path in paths for run in _runs(path, series, alone, language, follower)]
    return sorted(found, key=lambda run: (run.verdict.severity, run.name))


def _runs(
    path: Path, series: bool, alone: bool, language: str, follower: Follower | None
) -> list[Run]:
    try:
        found = recordings(path, series, follower)
    except ValueError as error:
        found = [Recording(path, "", problem=str(error).removeprefix(f"{path}: "))]
    nothing = Recording(path, "", problem=word(language, "nothing found", path=path))
    found = found or [nothing]
    return [Run(_name(recording, path, alone), recording, judge(recording)) for recording in found]


def _name(recording: Recording, path: Path, alone: bool) -> str:
    name = str(path)
    if recording.folder != path and path in recording.folder.parents:
        below = recording.folder.relative_to(path)
        name = str(below if alone else path / below)
    if recording.name not in (None, "collapse"):
        name = f"{name} [{recording.name}]"
    return printable(name)
