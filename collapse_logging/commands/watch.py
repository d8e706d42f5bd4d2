"""``check --watch``: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from ..reading import Follower, worst
from ..report import Level
from ..words import word
from .runs import Run, look
from .table import notes, table

_STYLES = {"collapsed": "bold red", "at risk": "dark_orange", "healthy": "green"}

_SHORTEST = 0.1
"""Seconds between two looks, whatever was asked for."""

Show = Callable[[Sequence[Run]], None]


def watch(options: argparse.Namespace, fail_on: Level) -> int:
    """Look again and again; returns the exit code of the last look.

    Ends at Ctrl-C, after ``--timeout`` seconds, or with ``--fail-fast`` at the first failure. A
    path that is not there yet is waited for.
    """
    longest = float("inf") if options.timeout is None else options.timeout
    started, code, follower = time.monotonic(), 2, Follower()
    with contextlib.suppress(KeyboardInterrupt), _screen(options.language) as show:
        while True:
            began = time.monotonic()
            runs = look(options.paths, language=options.language, follower=follower)
            code = worst(run.verdict.exit_code(fail_on) for run in runs)
            show(runs)
            left = longest - (time.monotonic() - started)
            if left <= 0 or (options.fail_fast and code == 1):
                break
            # event files that take long to read are read more rarely, not all the time
            took = time.monotonic() - began
            time.sleep(min(max(options.interval, took, _SHORTEST), left))
    return code


@contextlib.contextmanager
def _screen(language: str) -> Iterator[Show]:
    """How to show runs: rich's live display, or lines where there is no terminal or no rich."""
    if not sys.stdout.isatty():
        yield _Changes(language)
        return
    try:
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        yield _Changes(language)
        return
    with Live(auto_refresh=False) as live:

        def show(runs: Sequence[Run]) -> None:
            header, *lines = table(runs, live.console.width, language)
            rows = Text(f"{header}\n", style="dim", no_wrap=True, overflow="ellipsis")
            for run, line in zip(runs, lines, strict=True):
                rows.append(f"{line}\n", style=f"not dim {_STYLES.get(run.verdict.word, '')}")
            end = word(language, "to end", time=f"{datetime.now():%H:%M:%S}")
            below = [*notes(runs, language), end]
            live.update(Group(rows, Text("\n".join(below), style="dim")), refresh=True)

        yield show


class _Changes:
    """Prints a line for each run that has a new verdict or level."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._seen: dict[str, tuple[str, str]] = {}

    def __call__(self, runs: Sequence[Run]) -> None:
        lines = table(runs, None, self._language)[1:]
        for run, line in zip(runs, lines, strict=True):
            state = run.verdict.word, str(run.verdict.level)
            if self._seen.get(run.name) != state:
                self._seen[run.name] = state
                print(f"{datetime.now():%H:%M:%S}  {line}", flush=True)
