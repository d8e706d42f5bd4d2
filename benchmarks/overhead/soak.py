"""``python -m benchmarks.overhead.soak``: 100,000 steps, and nothing that grows.

A tiny latent under a monitor with TensorBoard and ledger; now and then what the process holds is
counted: resident memory, Python's objects, live tensors, open files, threads.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from collapse_logging import CollapseMonitor
from collapse_logging.writers import TensorBoardWriter

from . import tables
from .machine import machine

STEPS, EVERY = 100_000, 10_000


class Held(NamedTuple):
    """What the process holds after so many steps."""

    step: int
    resident: int
    objects: int
    tensors: int
    descriptors: int
    threads: int


def held(step: int) -> Held:
    """Count it, after garbage has been collected; memory and descriptors need ``/proc``."""
    gc.collect()
    everything = gc.get_objects()
    return Held(
        step,
        int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        len(everything),
        sum(issubclass(type(thing), Tensor) for thing in everything),
        len(list(Path("/proc/self/fd").iterdir())),
        len(threading.enumerate()),
    )


def soak(
    folder: Path, steps: int = STEPS, every: int = EVERY, tell: Callable[[str], None] = print
) -> list[Held]:
    """Train for so many steps; what was held after each ``every`` of them."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(8, 8), nn.Linear(4, 8)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.SGD(parameters, 1e-3)
    data = torch.randn(64, 16, 8)
    seen = []
    with CollapseMonitor([TensorBoardWriter(folder)], verbose=False) as monitor:
        for step in range(1, steps + 1):
            x = data[step % len(data)]
            mean, log_variance = encoder(x).chunk(2, -1)
            monitor.observe("z", mean, log_variance)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            reconstruction = (decoder(z) - x).square().sum(1).mean()
            kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
            optimizer.zero_grad()
            (reconstruction + kl).backward()
            optimizer.step()
            monitor.step(reconstruction_loss=reconstruction)
            if step % every == 0:
                seen.append(held(step))
                tell(f"soak: {seen[-1]}")
    return seen


def main() -> int:
    """Soak, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead.soak")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    about, start = machine(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seen = soak(Path(folder), given.steps, max(1, given.steps * EVERY // STEPS))
    figures: dict[str, Any] = {
        "seconds": round(time.perf_counter() - start, 1),
        "held": [list(row) for row in seen],
    }
    print("written:", *tables.write({"soak": figures}, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
