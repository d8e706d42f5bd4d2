"""The targets beside what was measured, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from collapse_logging.pile import MOST_BYTES

from .figures import PROCESSOR, WALL, memory_growth, own_seconds, own_share, step_seconds
from .gpu_table import overhead
from .machine import line

_STEPS = (0.0, 0.01, 0.04, 0.1, 10.0)
"""Bounds of what is told together, seconds a step."""

MET, SHORT, UNKNOWN = "met", "**falls short**", "not measured"
_NO_GPU = "not measured: no NVIDIA GPU was at hand (`python -m benchmarks.overhead.gpu`)"


class Target(NamedTuple):
    """A line of the table: how it is measured gives what is shown, and whether it is met."""

    quantity: str
    target: str
    measure: Callable[[dict[str, Any]], tuple[str, bool | None]]


def targets(result: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# Overhead: targets",
        "",
        line(result["machines"]["grid"]),
        "",
        "| quantity | target | measured | |",
        "|---|---|---|---|",
    ]
    for quantity, target, measure in TARGETS:
        shown, met = measure(result)
        verdict = UNKNOWN if met is None else MET if met else SHORT
        lines.append(f"| {quantity} | {target} | {shown} | {verdict} |")
    return "\n".join(lines) + "\n"


def _on_gpu(result: dict[str, Any]) -> tuple[str, bool | None]:
    if "gpu_paired" not in result:
        return _NO_GPU, None
    shown, met = overhead(result["gpu_paired"])
    return f"{_gpu(result, 'paired')}: {shown}", met


def _gpu(result: dict[str, Any], part: str) -> str:
    return str(result["machines"][f"gpu_{part}"]["device"])


def _waits(result: dict[str, Any]) -> tuple[str, bool | None]:
    most = max(kept["waits"] for kept in result["counts"]["operators"].values())
    shown = f"on the CPU {most:.0f} operators a step read a value; on a GPU "
    if "gpu_waits" not in result:
        return shown + _NO_GPU, None
    found = result["gpu_waits"]
    shown += f"{found['waits']} waits in {found['steps']} steps with their checks"
    return shown, most + found["waits"] == 0


def _operators(result: dict[str, Any]) -> tuple[str, bool]:
    counted, piled = result["counts"]["operators"], result["counts"]["piled"]
    shown = "; ".join(
        f"{n} latent(s): {kept['kernels'] - 1:g} and one that keeps the loss "
        f"({kept['operators']:g} with views and allocations); on a CPU, where batches wait on a "
        f"pile, {piled[n]['kernels'] - 1:g} and one ({piled[n]['operators']:g})"
        for n, kept in counted.items()
    )
    if "gpu_launches" in result:
        added = [row["launches"][1] - row["launches"][0] for row in result["gpu_launches"]]
        shown += f"; on {_gpu(result, 'launches')} {max(added):g} launches"
    return shown, max(kept["kernels"] - 1 for kept in counted.values()) <= 12


def _sent(result: dict[str, Any]) -> tuple[str, bool | None]:
    if "sent" not in result:
        return "`python -m benchmarks.overhead run --only sent` was not run", None
    found = dict(result["sent"])
    checks, copies = found.pop("checks"), found.pop("copies")
    reduced, others = found.pop("all_reduce", 0), sum(found.values())
    shown = (
        f"two gloo ranks, {checks} checks: {copies} copies, {reduced} all-reduces, and "
        f"{others} to agree at the first"
    )
    return shown, copies == reduced == checks and others <= 1


def _default_cost(result: dict[str, Any]) -> tuple[str, bool]:
    rows = [row for row in result["grid"] if row["observed"] == "budget"]
    steps = np.array([step_seconds(row) for row in rows])
    shares, by_clock = (
        np.array([own_share(row["watched"], row["control"], clock).value for row in rows])
        for clock in (PROCESSOR, WALL)
    )
    shown = []
    for low, high in pairwise(_STEPS):
        at = (steps >= low) & (steps < high)
        if at.any():
            shown.append(
                f"{np.median(shares[at]):.2%} of steps of {1e3 * steps[at].min():.0f} to "
                f"{1e3 * steps[at].max():.0f} ms ({shares[at].min():.2%} to "
                f"{shares[at].max():.2%}; by the clock {np.median(by_clock[at]):.2%})"
            )
    within = int((shares <= 0.005).sum())
    told = f"processor time, median: {', '.join(shown)}; {within} of {len(rows)} rows are within"
    return told, within == len(rows)


def _times_cheaper(result: dict[str, Any]) -> tuple[str, bool]:
    (ours, manual), by_clock = (
        [own_seconds(result["baselines"], name, clock) for name in ("ours", "manual")]
        for clock in (PROCESSOR, WALL)
    )
    shown = (
        f"{manual / ours:.1f} times: {1e6 * manual:.0f} against {1e6 * ours:.0f} µs a step of "
        f"processor time (by the clock {1e6 * by_clock[1]:.0f} against {1e6 * by_clock[0]:.0f})"
    )
    return shown, manual >= 20 * ours


def _bytes(result: dict[str, Any]) -> tuple[str, bool]:
    held = result["counts"]["bytes_a_unit"]
    return f"{held:g} B; on a CPU a pile of at most {MOST_BYTES / 2**20:g} MiB", held <= 64


def _growth(result: dict[str, Any]) -> tuple[str, bool | None]:
    if "soak" not in result:
        return "`python -m benchmarks.overhead.soak` was not run", None
    grown, held = memory_growth(result["soak"]), result["soak"]["held"]
    shown = f"{grown:.2f} MiB from step {held[0][0]:,} to {held[-1][0]:,}"
    return shown, grown <= 1.0


def _emission(result: dict[str, Any]) -> tuple[str, bool]:
    own, users = (1e3 * np.array(result["counts"]["emission"][n]) for n in ("own", "users"))
    means, medians = own.mean(0), np.median(own, 0)
    shown = (
        f"an event file of our own, written in the background: processor time mean {means[0]:.2f} "
        f"ms, median {medians[0]:.2f} ms of {len(own)} checks (by the clock {means[1]:.2f}, "
        f"{medians[1]:.2f}). Through a SummaryWriter of the user's: mean {users[:, 0].mean():.2f} "
        f"ms, median {np.median(users[:, 0]):.2f} ms; the first, with the dashboard, "
        f"{users[0, 0]:.1f} ms; with histograms and map {np.median(users[1:10, 0]):.1f} ms"
    )
    return shown, bool(means[0] <= 0.3)


def _slow_writer(result: dict[str, Any]) -> tuple[str, bool]:
    longest = 1e3 * result["counts"]["slow_writer"]
    shown = (
        f"{longest:.1f} ms more the longest of 20 steps without an alert, with a writer in the "
        "background that takes 200 ms a check"
    )
    return shown, longest <= 5


def _bits(result: dict[str, Any]) -> tuple[str, bool]:
    same = result["counts"]["bit_identical"]
    return "identical, the random stream too" if same else "they differ", same


def _import(result: dict[str, Any]) -> tuple[str, bool]:
    seconds, by_clock = np.array(result["counts"]["import"]).T
    shown = (
        f"processor time, median of {len(seconds)} fresh interpreters {np.median(seconds):.3f} s, "
        f"least {seconds.min():.3f} s (by the clock {np.median(by_clock):.3f} s)"
    )
    return shown, bool(np.median(seconds) <= 0.15)


TARGETS = (
    Target(
        "GPU overhead, every step observed, step >= 10 ms, B, D <= 1024, L <= 8",
        "paired ratio <= 1.005 eager, <= 1.002 compiled",
        _on_gpu,
    ),
    Target("synchronisations on the hot path", "0 a step, 0 a check", _waits),
    Target("kernels dispatched per observed step", "<= 12 whatever L", _operators),
    Target("copies / collectives a check", "1 / 1", _sent),
    Target("CPU overhead with defaults", "own time <= 0.5 % of the step", _default_cost),
    Target(
        "against the manual's code at its own settings", "at least 20 times cheaper", _times_cheaper
    ),
    Target("device memory", "<= 64 B a unit", _bytes),
    Target("growth of memory over 100,000 steps", "<= 1 MiB", _growth),
    Target("emission in the training thread, TensorBoard", "<= 0.3 ms a check", _emission),
    Target("a slow writer holds training up", "<= 5 ms", _slow_writer),
    Target("parameters and random state with and without", "bit-identical", _bits),
    Target("import of all that a monitor needs, over torch and numpy", "<= 0.15 s", _import),
)
