"""The doctor's look at a log folder."""

from __future__ import annotations

import difflib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..reading import judge
from ..reading.events import load, read_events
from ..reading.find import EVENTS, LEDGER, WANDB, Source, find, walk
from ..reading.ledger import read_ledger
from ..reading.wandb import read_wandb
from ..writers.ledger import LEDGER_NAME
from .finding import Finding
from .words import counted, progress

_MOST = 10
"""Records that are looked into, the newest first."""

_MOST_FOLDERS = 300
"""Folders beside the one given that are looked through for records."""

_START = (
    "Is PosteriorCollapseDetector in the Trainer's callbacks, or, in a plain loop, monitor.step() "
    "called after each optimiser step?",
    "The first report comes with the first check: after 50 steps, if check_frequency is not given.",
)
_UNSEEN = (
    "Is the model in train() mode, and is monitor.observe(...) called, or the watched module run, "
    "in each training step?",
)


def examine(path: Path) -> Iterator[Finding]:
    """What is there, what is in it, and what is missing.

    Raises:
        ValueError: a file that nothing of ours wrote.
    """
    if not path.exists():
        yield Finding(False, f"{path} is not there.", _elsewhere(path))
        return
    errors: list[OSError] = []
    found = walk(path, errors.append) if path.is_dir() else find(path)
    for error in errors:
        yield Finding(False, f"a folder cannot be looked into: {error}")
    if not found:
        text = f"{path} is there, but nothing in it is from a detector or a tracker."
        yield Finding(False, text, (*_START, *_elsewhere(path)))
        return
    kinds = Counter(source.kind for source in found)
    yield Finding(True, f"{path} is there; in it: {_listed(kinds)}.")
    newest = sorted(found, key=_written, reverse=True)[:_MOST]
    if len(found) > _MOST:
        yield Finding(None, f"the newest {_MOST} of {len(found)} are looked into:")
    for source in newest:
        yield _looked_into(source)
    if path.is_dir() and EVENTS in kinds:
        yield Finding(None, "to see the charts:", (f"tensorboard --logdir {path}",))
    if LEDGER not in kinds:
        text = f"there is no {LEDGER_NAME}, the complete record."
        yield Finding(None, text, ("give the monitor or the detector log_dir=... to have one.",))


def _listed(kinds: Mapping[str, int]) -> str:
    names = {LEDGER: "ledgers", EVENTS: "folders with event files", WANDB: "W&B files"}
    return ", ".join(f"{name} {kinds[kind]}" for kind, name in names.items() if kind in kinds)


def _looked_into(source: Source) -> Finding:
    where = f"{source.path} ({source.kind}, {_age(source)})"
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
        return Finding(False, f"{where}: {error}")
    reports = [recording for recording in recordings if recording.report is not None]
    if not reports:
        there = f"{counted(len(tags), 'scalar tag')}, none of a detector" if tags else "no report"
        few = (f"tags: {', '.join(sorted(tags)[:3])} ...",) if tags else ()
        return Finding(False, f"{where}: {there}.", (*few, *_START))
    if all(judge(recording).why == "not observed" for recording in reports):
        return Finding(False, f"{where}: the newest check saw no sample.", _UNSEEN)
    said = "; ".join(
        f"{recording.name + ': ' if recording.name else ''}{progress(recording)}, "
        f"{judge(recording).word}"
        for recording in reports
    )
    return Finding(True, f"{where}: {said}.")


def _written(source: Source) -> float:
    """When it was last written to, in seconds since 1970."""
    files = [source.path]
    if source.path.is_dir():
        files = [file for file in source.path.iterdir() if "tfevents" in file.name]
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def _age(source: Source) -> str:
    seconds = time.time() - _written(source)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"last written {counted(int(seconds // length), unit)} ago"
    return f"last written {max(seconds, 0):.0f} s ago"


def _elsewhere(path: Path) -> tuple[str, ...]:
    """A similar name, or records near by: the training may write somewhere else."""
    above = next(parent for parent in path.absolute().parents if parent.is_dir())
    lines = []
    if not path.exists():
        try:
            names = [entry.name for entry in above.iterdir()]
        except OSError:
            return ()
        near = difflib.get_close_matches(path.name, names, n=1)
        lines += [f"did you mean {above / name}?" for name in near]
    found = walk(above, most=_MOST_FOLDERS)
    folders = {
        s.path if s.kind == EVENTS else s.path.parent: None for s in found if s.kind != WANDB
    }
    if folders:
        lines.append("is it one of these?")
        lines += [f"  {folder}" for folder in list(folders)[:3]]
    return tuple(lines)
