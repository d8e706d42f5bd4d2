"""``python -m benchmarks.soak --minutes N --seed S``: trials until the time is over."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, like torch

import argparse
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from ..overhead.machine import line, machine
from .schedule import Schedule
from .trial import Outcome, trial

RESULTS = Path(__file__).parent / "results" / "soak.md"

_ROWS = {
    "kills": "kills (SIGKILL), each with a resume and a check of all that was on the disk",
    "steps": "steps that each of the three trainings of a trial had",
    "windows": "windows that were reported",
    "samples": "samples in them, of the latent z",
    "alerts": "alerts in the ledger, each exactly once",
    "failures": "lines of the log about writers that failed on purpose",
    "points": "points that TensorBoard shows at the end, no step twice",
    "lost by unsteady": "alerts that a writer which raises never got, killed or at the end before "
    "it worked again",
    "lost by unsteady_in_background": "the same, of one in a thread of its own",
}


def main() -> int:
    """Soak, write the table; 1 if something broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first trial")
    parser.add_argument("--steps", type=int, default=Schedule(0).steps, help="of each training")
    parser.add_argument("--table", type=Path, default=RESULTS, help="where the table goes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.soak.training", "torch.utils.tensorboard"])
    about, start, outcomes = machine(), time.monotonic(), list[Outcome]()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        for seed in itertools.count(given.seed):
            outcomes.append(
                trial(Path(folder) / str(seed), Schedule(seed, given.steps), context, tell)
            )
            broken = [what for outcome in outcomes for what in outcome.broken]
            minutes = (time.monotonic() - start) / 60
            if broken or minutes >= given.minutes:
                break
    command = f"python -m benchmarks.soak --minutes {given.minutes:g} --seed {given.seed}"
    text = table(about, minutes, f"{command} --steps {given.steps}", outcomes, broken)
    print(text)
    given.table.write_text(text)
    return 1 if broken else 0


def table(
    about: dict[str, Any], minutes: float, command: str, outcomes: list[Outcome], broken: list[str]
) -> str:
    """The results as Markdown."""
    total = sum((outcome.figures for outcome in outcomes), Counter[str]())
    lines = [
        f"# Chaos: {minutes:.0f} minutes, {total['kills']} kills",
        "",
        line(about),
        "",
        f"Trials, each with the next seed: {len(outcomes)}. Written by `{command}`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {what} | {total[name]:,} |" for name, what in _ROWS.items()),
        "",
        "Broken:"
        if broken
        else "Everything held: parameters to the last bit those of the "
        "training that nobody watched; every report and alert, to the last digit, that of the "
        "run that nobody disturbed; windows that cut steps and samples into pieces; steps that "
        "rise; no step twice in TensorBoard.",
        *(f"- {what}" for what in broken),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
