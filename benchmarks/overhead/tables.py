"""From the figures that are kept to the tables for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from . import gpu_table
from .blocks import mean_difference, paired_ratio
from .figures import (
    PROCESSOR,
    WALL,
    memory_growth,
    own_seconds,
    own_share,
    ratio,
    share,
    step_seconds,
)
from .grid import CONTROL, WITHOUT
from .machine import line
from .targets import targets
from .watchers import PLOT_EVERY

RESULTS = Path(__file__).parent / "results"


def write(
    new: dict[str, Any], about: dict[str, Any] | None = None, folder: Path = RESULTS
) -> list[Path]:
    """Put new figures into ``result.json`` and write all tables again.

    Args:
        new: figures by the name of their part; the other parts stay.
        about: the machine that they were measured on.
        folder: where the results are.
    """
    folder.mkdir(exist_ok=True)
    kept = folder / "result.json"
    before = json.loads(kept.read_text()) if kept.exists() else {"machines": {}}
    machines = before["machines"] | dict.fromkeys(new, about)
    result = before | new | {"machines": machines}
    kept.write_text(json.dumps(result, ensure_ascii=False) + "\n")
    written = [kept]
    for name, text in documents(result).items():
        written.append(folder / f"{name}.md")
        written[-1].write_text(text)
    return written


def documents(result: dict[str, Any]) -> dict[str, str]:
    """Every table whose figures are there, by the name of its file."""
    found = {}
    if "grid" in result:
        found["grid"] = grid(result)
    if "baselines" in result:
        found["baselines"] = baselines(result)
    if {"counts", "grid", "baselines"} <= result.keys():
        found["targets"] = targets(result)
    if "soak" in result:
        found["soak"] = soak(result)
    if any(name.startswith(gpu_table.PREFIX) for name in result):
        found["gpu"] = gpu_table.document(result)
    return found


def grid(result: dict[str, Any]) -> str:
    """The grid: step time, paired ratios with their control, own time."""
    lines = [
        "# Overhead: the grid",
        "",
        line(result["machines"]["grid"]),
        "",
        "A VAE of MLPs on 784 inputs, checked every 50 steps; blocks of 25 steps with and without "
        "the monitor in turns (A B B A), in one process on one model. *Time with / without* is the "
        "median over rounds of the pairs' ratio, with its 95 % bootstrap interval; *processor* is "
        "the same of the processor time of all threads, in which other programs are not; *control* "
        "is the ratio of two arms that both do nothing, that is, the noise. *Own* is the time "
        "spent in `observe` and `step`, checks and writers included, as share of the rest of the "
        "step: the sharper figure, in processor time and by the clock. Observed is every step with "
        "all rows, or every k-th as the budget chooses (k in brackets).",
        "",
        "| batch | units | latents | step, ms | observed | writer | own, % of the step "
        "| own by the clock | time with / without | processor with / without | control |",
        "|---" * 11 + "|",
    ]
    for row in result["grid"]:
        without, control, watched = (np.array(row[k]) for k in (WITHOUT, CONTROL, "watched"))
        cells = [str(row[key]) for key in ("batch", "units", "latents")]
        cells += [f"{1e3 * step_seconds(row):.1f}"]
        cells += [f"{row['observed']} ({row['every']})", row["writer"]]
        cells += [share(own_share(watched, control, clock)) for clock in (PROCESSOR, WALL)]
        cells += [ratio(paired_ratio(watched[:, i], without[:, i])) for i in (WALL, PROCESSOR)]
        cells += [ratio(paired_ratio(control[:, 0], without[:, 0]))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


NAMES = {
    CONTROL: "nobody (control)",
    "ours": "ours, defaults, TensorBoard and ledger",
    "manual": "the manual's way: `.item()` every 50 steps, its figure every 500",
    "self.log": "Lightning's `self.log` of ten numbers each step",
    "torchmetrics": "torchmetrics: `update` each step, `compute` every 50",
}


def baselines(result: dict[str, Any]) -> str:
    """Ours and what people do instead."""
    given = result["baselines"]
    without = np.array(given["arms"][WITHOUT])
    step = 1e3 * np.median(without[:, PROCESSOR]) / given["steps"]
    drawn = len(without) * given["steps"] // PLOT_EVERY
    lines = [
        "# Overhead: beside what people do instead",
        "",
        line(result["machines"]["baselines"]),
        "",
        f"All in one `Trainer.fit` of one model, in turns of {given['steps'] // 2} steps, "
        f"{len(without)} rounds: batch {given['batch']}, {given['latents']} latent of "
        f"{given['units']} units, {step:.1f} ms of processor time a step without anything. *Own* "
        "is the processor time in the calls of what watches, mean over all steps, less the "
        "control's; what Lightning does with logged values afterwards is in the difference of the "
        "whole only. *Added* is the mean over rounds of (with - without) / steps, with its 95 % "
        "bootstrap interval; the control is the noise. In all, the manual's figure is drawn "
        f"{drawn} times.",
        "",
        "| who | own, µs a step | times ours | own by the clock, µs | added, processor time, µs "
        "| added, µs |",
        "|---" * 6 + "|",
    ]
    ours = own_seconds(given, "ours")
    for name, label in NAMES.items():
        figures = np.array(given["arms"][name])
        own = own_seconds(given, name)
        cells = [label, f"{1e6 * own:.0f}", f"{own / ours:.1f}" if name != CONTROL else ""]
        cells += [f"{1e6 * own_seconds(given, name, WALL):.0f}"]
        for column in (PROCESSOR, WALL):
            added = mean_difference(figures[:, column], without[:, column], given["steps"])
            cells += ["{:.0f} [{:.0f}, {:.0f}]".format(*(1e6 * value for value in added))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def soak(result: dict[str, Any]) -> str:
    """What the process held as training went on."""
    given = result["soak"]
    lines = [
        f"# Overhead: {given['held'][-1][0]:,} steps",
        "",
        line(result["machines"]["soak"]),
        "",
        f"A tiny latent under a monitor with TensorBoard and ledger, {given['seconds']:.0f} "
        "seconds. Each row is counted after a garbage collection.",
        "",
        "| step | resident, MiB | objects | live tensors | descriptors | threads |",
        "|---" * 6 + "|",
    ]
    for step, resident, *others in given["held"]:
        cells = [f"{step:,}", f"{resident / 2**20:.2f}", *(f"{value:,}" for value in others)]
        lines.append("| " + " | ".join(cells) + " |")
    first, last = given["held"][0][0], given["held"][-1][0]
    lines += [
        "",
        f"From step {first:,} to {last:,} resident memory grew by {memory_growth(given):.2f} MiB.",
    ]
    return "\n".join(lines) + "\n"
