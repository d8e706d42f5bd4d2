"""``python -m benchmarks.overhead.gpu [part ...]``: everything that needs a GPU, in ten minutes.

Without an NVIDIA GPU it says so, measures nothing and ends well.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import gpu_parts as parts
from . import tables
from .machine import machine
from .training import Size

HIDDEN, NARROW = 6144, 64
"""Width of the layers between: a step of ten milliseconds or more, and one for counting only."""
SMALL, MIDDLE, LARGE = (256, 64), (1024, 128), (1024, 1024)
LATENTS = (1, 8)
COMPILED: dict[str, Any] = {}
REPLAYED: dict[str, Any] = {"mode": "reduce-overhead"}
"""Arguments of torch.compile."""
PROFILED, ROUNDS, STEPS = 200, 6, 2000
"""Steps of (a), rounds of (c) and (d), steps of (h)."""

Part = Callable[[str], Any]


def main(chosen: Sequence[str]) -> int:
    """Measure all parts, or those that are named, and write ``results/gpu.md``."""
    if not torch.cuda.is_available():
        print("This needs an NVIDIA GPU and there is none here: nothing was measured.")
        return 0
    about = {**machine(), "device": torch.cuda.get_device_name()}
    found = measure("cuda", chosen or list(PARTS))
    print("written:", *tables.write({f"gpu_{name}": value for name, value in found.items()}, about))
    return int(len(found) < len(chosen or PARTS))


def measure(
    device: str, chosen: Sequence[str], tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """The parts' figures by their names; one that fails is told and missing."""
    found = {}
    for name in chosen:
        start = time.perf_counter()
        try:
            found[name] = PARTS[name](device)
        except Exception:  # the other parts' figures are worth the same
            traceback.print_exc()
        tell(f"{name}: {time.perf_counter() - start:.0f} s")
    return found


def waits(device: str) -> dict[str, int]:
    """(a)."""
    size = Size(*MIDDLE, latents=8, hidden=NARROW)
    return {"steps": PROFILED, "waits": parts.waits(size, device, PROFILED)}


def launches(device: str) -> list[dict[str, Any]]:
    """(b) of three sizes eager and the middle one compiled."""
    return [
        {**about(size, how), **parts.launches(size, device, how)} for size, how in sizes(NARROW)
    ]


def paired(device: str) -> list[dict[str, Any]]:
    """(c) and (d) of the same."""
    return [
        {**about(size, how), "figures": parts.in_turns_on(size, device, how, ROUNDS)}
        for size, how in sizes(HIDDEN)
    ]


def replays(device: str) -> dict[str, float]:
    """(e)."""
    expected, counted, error = parts.replays(Size(*SMALL, 1, NARROW), device, REPLAYED)
    return {"expected": expected, "counted": counted, "error": error}


def lag(device: str) -> list[int]:
    """(f)."""
    return parts.lags(Size(*MIDDLE, 8, HIDDEN), device)


def held(device: str) -> dict[str, int]:
    """(h)."""
    before, after = parts.bytes_held(Size(*SMALL, 8, NARROW), device, STEPS)
    return {"steps": STEPS, "before": before, "after": after}


def sizes(hidden: int) -> list[tuple[Size, parts.Compile]]:
    """Three eager and the middle one compiled, each with one latent and with eight."""
    shapes = ((SMALL, None), (MIDDLE, None), (LARGE, None), (MIDDLE, COMPILED))
    return [(Size(*shape, n, hidden), how) for n in LATENTS for shape, how in shapes]


def about(size: Size, how: parts.Compile) -> dict[str, Any]:
    """What a row is of."""
    kind = {"batch": size.batch, "units": size.units, "latents": size.latents}
    return {**kind, "compiled": how is not None}


PARTS: dict[str, Part] = {
    "waits": waits,
    "launches": launches,
    "paired": paired,
    "replays": replays,
    "lag": lag,
    "bf16": parts.bf16_errors,
    "bytes": held,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
