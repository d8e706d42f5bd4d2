"""``python -m benchmarks.overhead.gpu``: everything that needs a GPU, under ten minutes.

Without an NVIDIA GPU it says so, measures nothing and ends well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from . import gpu_parts as parts
from .blocks import paired_ratio
from .figures import WALL, own_share
from .machine import line, machine
from .tables import RESULTS, ratio, share
from .training import Size

HIDDEN = 6144
SMALL, MIDDLE, LARGE = (256, 64), (1024, 128), (1024, 1024)
LATENTS = (1, 8)
COMPILED: dict[str, Any] = {}
REPLAYED: dict[str, Any] = {"mode": "reduce-overhead"}
"""Arguments of torch.compile."""
PROFILED, ROUNDS, STEPS = 200, 10, 2000
"""Steps of (a), rounds of (c) and (d), steps of (h)."""


def main() -> int:
    """Measure all parts and write ``results/gpu.md``, if there is a GPU."""
    if not torch.cuda.is_available():
        print("This needs an NVIDIA GPU and there is none here: nothing was measured.")
        return 0
    print("written:", write(measure("cuda"), RESULTS / "gpu.md"))
    return 0


def measure(device: str, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """All lettered parts."""
    middle = Size(*MIDDLE, latents=8, hidden=HIDDEN)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    found: dict[str, Any] = {"machine": machine(), "device": name}
    tell("(a) waits")
    found["waits"] = parts.waits(middle, device, PROFILED)
    tell("(b) launches")
    found["launches"] = {
        name: {latents: parts.launches(_size(MIDDLE, latents), device, how) for latents in LATENTS}
        for name, how in (("eager", None), ("compiled", COMPILED))
    }
    found["paired"] = paired(device, tell)
    tell("(e) reduce-overhead")
    found["replays"] = parts.replays(_size(SMALL, 1), device, REPLAYED)
    tell("(f) lag")
    found["lag"] = parts.lags(middle, device)
    tell("(g) bf16")
    found["bf16"] = parts.bf16_errors(device)
    tell("(h) bytes")
    found["bytes"] = parts.bytes_held(_size(SMALL, 8), device, STEPS)
    return found


def paired(device: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """(c) and (d): three sizes eager, the middle one compiled, each with one latent and eight."""
    rows = []
    for latents in LATENTS:
        for shape, how in ((SMALL, None), (MIDDLE, None), (LARGE, None), (MIDDLE, COMPILED)):
            size = _size(shape, latents)
            tell(f"(c, d) batch {size.batch}, {latents} latents of {size.units} units")
            figures = parts.in_turns_on(size, device, how, ROUNDS)
            about = {"batch": size.batch, "units": size.units, "latents": latents}
            rows.append({**about, "compiled": how is not None, "figures": figures})
    return rows


def _size(shape: Sequence[int], latents: int) -> Size:
    batch, units = shape
    return Size(batch, units, latents, HIDDEN)


def write(found: dict[str, Any], path: Path) -> Path:
    """The table."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(markdown(found))
    return path


def markdown(found: dict[str, Any]) -> str:
    """All parts, for people."""
    lines = [
        "# Overhead on a GPU",
        "",
        f"{found['device']}. {line(found['machine'])} Every step is observed, all rows.",
        "",
        "| part | measured |",
        "|---|---|",
        f"| (a) waits that watching adds to {PROFILED} steps, by the profiler | {found['waits']} |",
    ]
    for name, counted in found["launches"].items():
        for latents, (without, watched) in counted.items():
            lines.append(
                f"| (b) launches a step, {name}, {latents} latent(s) "
                f"| {watched:.1f} with, {without:.1f} without |"
            )
    expected, counted, error = found["replays"]
    before, after = found["bytes"]
    lines += [
        f"| (e) samples after 100 replays of a CUDA graph | {counted:.0f} of {expected:.0f}; "
        f"worst relative error of a unit's variances {error:.1e} |",
        f"| (f) steps from a check to its report | {_listed(found['lag'])} |",
        *(f"| (g) bf16 against float64, {n} | {e:.1e} |" for n, e in found["bf16"].items()),
        f"| (h) bytes before and after {STEPS:,} steps | {before:,} and {after:,} |",
        "",
        "(c), (d): in turns, as in the grid. *Item* is one `.item()` a step, for comparison.",
        "",
        "| batch | units | latents | | step, ms | own, % of the step | time with / without "
        "| item | control |",
        "|---" * 9 + "|",
        *(_row(row) for row in found["paired"]),
    ]
    return "\n".join(lines) + "\n"


def _row(row: dict[str, Any]) -> str:
    seconds = {name: parts.walls(values) for name, values in row["figures"].items()}
    without = seconds["without"]
    step = 1e3 * float(without.mean()) / (2 * parts.BLOCK)
    cells = [str(row[key]) for key in ("batch", "units", "latents")]
    cells += ["compiled" if row["compiled"] else "eager", f"{step:.1f}"]
    cells += [share(own_share(row["figures"]["ours"], row["figures"]["control"], WALL))]
    cells += [ratio(paired_ratio(seconds[n], without)) for n in ("ours", "item", "control")]
    return "| " + " | ".join(cells) + " |"


def _listed(values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)}, {len(values)} checks"


if __name__ == "__main__":
    sys.exit(main())
