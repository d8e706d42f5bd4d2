"""``python -m benchmarks.overhead run | report | picture``."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, like torch below

import argparse
import sys
import time

import torch

from . import tables

PARTS = ("counts", "sent", "grid", "baselines")


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("command", choices=("run", "report", "picture"))
    parser.add_argument("--only", choices=PARTS, help="one part; the others' figures are kept")
    given = parser.parse_args()
    if given.command == "picture":
        from .picture import draw

        print("written:", draw())
        return 0
    if given.command == "run":
        run(given.only)
    print("written:", *tables.write({}))
    return 0


def run(only: str | None = None) -> None:
    """Measure all parts, or one; each is kept as soon as it is there."""
    from .baselines import baselines
    from .counts import counts
    from .grid import grid
    from .machine import machine
    from .ranks import sent

    torch.set_num_threads(1)
    start = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {what}", flush=True)

    measures = {"counts": counts, "sent": sent, "grid": grid, "baselines": baselines}
    for name in PARTS:
        if only in (None, name):
            about = machine()
            tables.write({name: measures[name](tell)}, about)
    tell("done")


if __name__ == "__main__":
    sys.exit(main())
