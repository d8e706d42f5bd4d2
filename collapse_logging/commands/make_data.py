"""``make-data``: write a synthetic cohort as a data folder for ``train``."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..arguments import require_count
from ..training.cohort import VARIABLES, patient, splits
from ..training.folder import write
from ..words import word
from .lines import say

_ABOUT = """\
Write a synthetic cohort: one Parquet file a patient in train/, valid/ and test/,
with irregular visits, variables that follow a common course, and missing values.
No patient is real. Patient 17 of a seed is the same in a cohort of any size.
"""


def add_parser(commands: Any) -> None:
    """What can be typed."""
    parser = commands.add_parser(
        "make-data",
        help="write a synthetic cohort of patients for train --data_dir",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--patients", type=int, default=1000, metavar="N", help="how many (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the files, with a bar, and say what they hold.

    Raises:
        ValueError: a number out of its range, or a folder that holds something.
        ModuleNotFoundError: pyarrow or rich is not installed.
    """
    require_count("--patients", options.patients, at_least=10)
    require_count("--seed", options.seed, at_least=0)
    folder: Path = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"DIR: expected a new or an empty folder, got {str(folder)!r}, which holds something; "
            "name another one, or delete it."
        )
    try:
        from rich.progress import track
    except ImportError as error:
        raise ModuleNotFoundError(
            "make-data needs rich, which is not installed; pip install 'collapse-logging[train]'."
        ) from error
    parts = splits(options.patients)
    made: Counter[str] = Counter()
    everyone = [(part, index) for part, indices in parts.items() for index in indices]
    for part, index in track(everyone, word(options.language, "making"), transient=True):
        file = folder / part / f"patient_{index:06}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        events = patient(options.seed, index)
        write(events, file)
        made["sets"] += int(events.set_index[-1]) + 1
        made["events"] += len(events.value)
        made["bytes"] += file.stat().st_size
    say(_summary(options, parts, made))
    return 0


def _summary(
    options: argparse.Namespace, parts: Mapping[str, range], made: Mapping[str, int]
) -> Iterator[str]:
    language, folder = options.language, options.folder
    counts = {part: len(indices) for part, indices in parts.items()}
    yield word(language, "made", patients=options.patients, folder=folder, **counts)
    missing = 1 - made["events"] / (made["sets"] * len(VARIABLES))
    what = {"sets": made["sets"], "events": made["events"], "variables": len(VARIABLES)}
    yield word(language, "made events", missing=missing, **what)
    yield word(language, "made size", size=made["bytes"] / 1e6, seed=options.seed)
    yield word(language, "made next")
    yield f"  collapse-logging train --data_dir {shlex.quote(str(folder))}"
