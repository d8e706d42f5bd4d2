"""What was measured on a GPU, for people, and whether it meets the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .blocks import Interval, paired_ratio
from .figures import WALL, own_share, ratio, share
from .grid import BLOCK
from .machine import line

PREFIX = "gpu_"
LEAST = 0.01
"""Seconds of a step from which on the targets hold."""
MOST = {False: 1.005, True: 1.002}
"""Of the paired ratio, by whether the model is compiled."""

Row = dict[str, Any]


def document(result: dict[str, Any]) -> str:
    """All parts that are there."""
    found = {name: value for name, value in result.items() if name.startswith(PREFIX)}
    about = result["machines"][next(iter(found))]
    lines = [
        "# Overhead on a GPU",
        "",
        f"{about['device']}. {line(about)} Every step is observed, all rows.",
        "",
        "| part | measured |",
        "|---|---|",
        *(text for name, value in found.items() if name in LINES for text in LINES[name](value)),
    ]
    if "gpu_launches" in found:
        lines += _launches(found["gpu_launches"])
    if "gpu_paired" in found:
        lines += _paired(found["gpu_paired"])
    return "\n".join(lines) + "\n"


def _waits(found: Row) -> list[str]:
    return [
        f"| (a) waits that watching adds to {found['steps']} steps, checks among them, by the "
        f"profiler; our calls run where CUDA raises at any wait | {found['waits']} |"
    ]


def _replays(found: Row) -> list[str]:
    return [
        f"| (e) samples after 100 replays of a CUDA graph | {found['counted']:.0f} of "
        f"{found['expected']:.0f}; worst relative error of a unit's numbers {found['error']:.1e} |"
    ]


def _lag(found: Sequence[int]) -> list[str]:
    shown = f"{min(found)} to {max(found)}, {len(found)} checks"
    return [f"| (f) steps from a check to its report | {shown} |"]


def _bf16(found: dict[str, float]) -> list[str]:
    return [
        f"| (g) bf16 against float64, worst relative error of a unit: {name} | {error:.1e} |"
        for name, error in found.items()
    ]


def _bytes(found: Row) -> list[str]:
    return [
        f"| (h) bytes before and after {found['steps']:,} steps | {found['before']:,} and "
        f"{found['after']:,} |"
    ]


LINES = {
    "gpu_waits": _waits,
    "gpu_replays": _replays,
    "gpu_lag": _lag,
    "gpu_bf16": _bf16,
    "gpu_bytes": _bytes,
}


def _launches(rows: Sequence[Row]) -> list[str]:
    cells = []
    for row in rows:
        (without, watched), (before, after) = row["launches"], row["seconds"]
        cells.append([f"{without:.1f}", f"{watched:.1f}", f"{1e6 * (after - before):.0f}"])
    about = (
        "(b) A step that is no check, by the profiler: kernels and graphs that are launched, and "
        "what watching adds to the time that kernels take on the device."
    )
    return _table(about, ["launches without", "with", "device, µs a step"], rows, cells)


def _paired(rows: Sequence[Row]) -> list[str]:
    cells = []
    for row in rows:
        own = own_share(row["figures"]["ours"], row["figures"]["control"], WALL)
        ratios = [ratio(ratio_of(row, name), digits=4) for name in ARMS]
        cells.append([f"{1e3 * step_of(row):.1f}", share(own), *ratios])
    about = (
        "(c), (d) In turns, as in the grid. *Own* is the host's time, which a GPU that is busy "
        "hides; *item* is one `.item()` a step, for comparison."
    )
    head = ["step, ms", "own, % of the step", "time with / without", "item", "control"]
    return _table(about, head, rows, cells)


def _table(
    about: str, head: Sequence[str], rows: Sequence[Row], cells: Sequence[Sequence[str]]
) -> list[str]:
    """What each row is of, and its cells."""
    lines = ["", about, "", " | ".join(["| batch | units | latents | model", *head]) + " |"]
    lines.append("|---" * (4 + len(head)) + "|")
    for row, values in zip(rows, cells, strict=True):
        kinds = [str(row[key]) for key in ("batch", "units", "latents")]
        kinds.append("compiled" if row["compiled"] else "eager")
        lines.append("| " + " | ".join([*kinds, *values]) + " |")
    return lines


ARMS = ("ours", "item", "control")


def step_of(row: Row) -> float:
    """Seconds of a step that nobody watches, mean."""
    return float(_walls(row, "without").mean()) / (2 * BLOCK)


def ratio_of(row: Row, arm: str) -> Interval:
    """Time with over time without."""
    return paired_ratio(_walls(row, arm), _walls(row, "without"))


def overhead(rows: Sequence[Row]) -> tuple[str, bool | None]:
    """The targets' line: the ratios of all steps that are long enough, and whether all are met.

    None: no step is.
    """
    shown, met = [], True
    for compiled, most in MOST.items():
        long = [row for row in rows if row["compiled"] is compiled and step_of(row) >= LEAST]
        ratios = [ratio_of(row, "ours") for row in long]
        if ratios:
            met = met and all(found.value <= most for found in ratios)
            values = ", ".join(ratio(found, digits=4) for found in ratios)
            shown.append(f"{'compiled' if compiled else 'eager'} {values}")
    return "; ".join(shown) or "no step takes 10 ms there", met if shown else None


def _walls(row: Row, arm: str) -> np.ndarray:
    return np.array(row["figures"][arm])[:, WALL]
