"""``python -m benchmarks.early``: a collapse is red within two of 24 hours, simulated."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, like torch

import argparse
import functools
import multiprocessing
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..overhead.machine import line, machine
from .day import CASES, HELD_OUT, HOURS, Outcome, day

RESULTS = Path(__file__).parent / "results" / "early.md"

ALLOWED = 2.0
"""Hours of the day within which a collapse must be red."""


def main() -> int:
    """Train all cases, write the table; 1 if one is late, missed or accused in vain."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.early", description=__doc__)
    parser.add_argument("--steps", type=int, default=7200, help="of a simulated day (7200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (1)")
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, help="and leave the other rows")
    given = parser.parse_args()
    about, start, rows = machine(), time.monotonic(), dict[str, str]()
    if given.only:
        rows = dict(re.findall(r"^(\| \*\*(\w+).*)$", RESULTS.read_text(), re.MULTILINE))
        rows = {name: line for line, name in rows.items()}
    good = True
    one = functools.partial(day, steps=given.steps, seed=given.seed)
    context = multiprocessing.get_context("forkserver")
    with context.Pool(given.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for outcome in pool.imap(one, [c for c in CASES if c.name in (given.only or names)]):
            rows[outcome.case.name] = row(outcome)
            good = good and kept(outcome)
            print(f"{time.monotonic() - start:5.0f} s  {row(outcome)}", flush=True)
    command = f"python -m benchmarks.early --steps {given.steps} --seed {given.seed}"
    lines = [rows[name] for name in names if name in rows]
    RESULTS.write_text(table(about, command, given.steps, lines))
    print(RESULTS.read_text())
    return 0 if good else 1


def kept(outcome: Outcome) -> bool:
    """Whether the promise was kept: the collapse is real and red in time, or nobody was accused."""
    if outcome.first_false_red is not None:
        return False
    if not outcome.case.collapses:
        return outcome.truth == "healthy"
    return outcome.truth == "collapsed" and outcome.hours is not None and outcome.hours <= ALLOWED


def row(outcome: Outcome) -> str:
    """A training as a line of the table."""
    case, red = outcome.case, "never"
    if outcome.first_red is not None:
        red = f"{outcome.first_red:,}"
    hours = "" if outcome.hours is None else f"{outcome.hours:.2f}"
    last = outcome.truths[-1]
    cells = (
        f"**{case.name}**: {case.what}",
        f"{outcome.steps:,}",
        f"{outcome.cause_at:,}",
        red,
        hours,
        f"{outcome.truth} ({last.information:.2f} nats, gap {last.gap:.2f} ± {last.gap_error:.2f})",
        "yes" if kept(outcome) else "**no**",
    )
    return f"| {' | '.join(cells)} |"


def table(about: dict[str, Any], command: str, steps: int, rows: Sequence[str]) -> str:
    """The results as Markdown."""
    return "\n".join(
        [
            f"# Early: red within {ALLOWED:g} of {HOURS} hours, simulated",
            "",
            line(about),
            "",
            f"Written by `{command}`, about two minutes of one core a row.",
            "",
            f"**What is simulated.** Nothing ran for a day. A day is {steps:,} optimiser steps of "
            "the sequential set VAE (`collapse_logging.training.seqset`), one patient of the "
            "synthetic cohort a step, each seen once, so that the day is one epoch; an hour is "
            f"{steps / HOURS:,.0f} steps. Most real days have more steps than that. The detector "
            "counts steps, so a cause that is there from the start would then be red earlier in "
            "the day; with a warm-up of five hours it is the warm-up that takes the time. Model, "
            "data and causes are small and made for this; they are not your training.",
            "",
            "**What is not.** The trainings are real, run to their end, and watched with "
            '`rules="fast"` (a check every 20 steps), nothing else set. The truth is measured on '
            f"{HELD_OUT} held-out patients at the end by mutual information and shuffle gap "
            "(`benchmarks/detection/truth.py`), three times, half an hour apart; it never asks the "
            "detector.",
            "",
            "| cause | steps of the day | cause at step | red at step | hours from cause to red "
            "| truth at the end | kept |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
