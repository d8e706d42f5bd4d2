"""The doctor's look at a log folder."""

from __future__ import annotations

import difflib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ..reading import Recording, judge
from ..reading.events import load, read_events
from ..reading.find import EVENTS, LEDGER, WANDB, Source, find, walk
from ..reading.ledger import read_ledger
from ..reading.wandb import read_wandb
from ..words import catalogue, word
from ..writers.ledger import LEDGER_NAME
from .finding import Finding
from .words import Say, counted, progress

_MOST = 10
"""Records that are looked into, the newest first."""

_MOST_FOLDERS = 300
"""Folders beside the one given that are looked through for records."""


def examine(path: Path, language: str = "en") -> Iterator[Finding]:
    """What is there, what is in it, and what is missing.

    Raises:
        ValueError: a file that nothing of ours wrote.
    """
    say = partial(word, language)
    if not path.exists():
        yield Finding(False, say("not there", path=path), _elsewhere(path, say))
        return
    errors: list[OSError] = []
    found = walk(path, errors.append) if path.is_dir() else find(path)
    found = [source for source in found if source.path.name != "dashboard"]  # titles, no values
    for error in errors:
        yield Finding(False, say("not listed", error=error))
    if not found:
        mend = (*_start(say), *_elsewhere(path, say))
        yield Finding(False, say("nothing in it", path=path), mend)
        return
    kinds = Counter(source.kind for source in found)
    yield Finding(True, say("contents", path=path, contents=_listed(kinds, language)))
    newest = sorted(found, key=_written, reverse=True)[:_MOST]
    if len(found) > _MOST:
        yield Finding(None, say("newest of", most=_MOST, count=len(found)))
    for source in newest:
        yield _looked_into(source, language)
    if path.is_dir() and EVENTS in kinds:
        yield Finding(None, say("see charts"), (f"tensorboard --logdir {path}",))
    if LEDGER not in kinds:
        yield Finding(None, say("no ledger", name=LEDGER_NAME), (say("make ledger"),))


def _start(say: Say) -> tuple[str, str]:
    return say("start callback"), say("start first")


def _listed(kinds: Mapping[str, int], language: str) -> str:
    say = catalogue(language)
    found = (kind for kind in (LEDGER, EVENTS, WANDB) if kind in kinds)
    return say["comma"].join(say[f"contents {kind}"].format(kinds[kind]) for kind in found)


def _looked_into(source: Source, language: str) -> Finding:
    say = partial(word, language)
    kind, age = say(source.kind), _age(source, language)
    where = say("where", path=source.path, kind=kind, age=age)
    tags: list[str] = []
    try:
        if source.kind == LEDGER:
            recordings = [read_ledger(source.path)]
        elif source.kind == WANDB:
            recordings = read_wandb(source.path)
        else:
            recordings = read_events(source.path)
            tags = load(source.path).Tags()["scalars"] if not recordings else []
    except (OSError, ModuleNotFoundError) as error:
        return Finding(False, say("note", run=where, why=error))
    reports = [recording for recording in recordings if recording.report is not None]
    if not reports:
        count = counted(language, len(tags), "scalar tag")
        what = say("none of ours", tags=count) if tags else say("no report")
        few = (say("tags", tags=", ".join(sorted(tags)[:3])),) if tags else ()
        return Finding(False, say("there", where=where, what=what), (*few, *_start(say)))
    if all(judge(recording).why == "not observed" for recording in reports):
        text = say("there", where=where, what=say("no sample"))
        return Finding(False, text, (say("unseen"),))
    said = say("semicolon").join(_said(recording, language) for recording in reports)
    return Finding(True, say("there", where=where, what=said))


def _said(recording: Recording, language: str) -> str:
    verdict = word(language, judge(recording).word)
    text = word(language, "comma").join((progress(recording, language), verdict))
    return word(language, "note", run=recording.name, why=text) if recording.name else text


def _written(source: Source) -> float:
    """When it was last written to, in seconds since 1970."""
    files = [source.path]
    if source.path.is_dir():
        files = [file for file in source.path.iterdir() if "tfevents" in file.name]
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def _age(source: Source, language: str) -> str:
    seconds = max(time.time() - _written(source), 0.0)
    say = catalogue(language)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return say[f"age {unit}"].format(int(seconds // length))
    return say["age second"].format(int(seconds))


def _elsewhere(path: Path, say: Say) -> tuple[str, ...]:
    """A similar name, or records near by: the training may write somewhere else."""
    above = next(parent for parent in path.absolute().parents if parent.is_dir())
    lines = []
    if not path.exists():
        try:
            names = [entry.name for entry in above.iterdir()]
        except OSError:
            return ()
        near = difflib.get_close_matches(path.name, names, n=1)
        lines += [say("did you mean", path=above / name) for name in near]
    found = walk(above, most=_MOST_FOLDERS)
    folders = {
        s.path if s.kind == EVENTS else s.path.parent: None for s in found if s.kind != WANDB
    }
    if folders:
        lines.append(say("one of these"))
        lines += [f"  {folder}" for folder in list(folders)[:3]]
    return tuple(lines)
