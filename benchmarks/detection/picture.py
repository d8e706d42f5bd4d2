"""Why growth matters: a slow start and a collapse over the same steps, from the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from collapse_logging.report import Level, Report
from collapse_logging.rules import PRESETS

from .cases import Case, all_cases
from .replay import Told, load, reports

PICTURE = Path(__file__).parents[2] / "docs" / "growth.png"
RUNS = (("slow/beta below critical/0", "slow start"), ("bernoulli/beta 5/0", "collapse"))
_STEPS = 1500
_COLOURS = ("#0072b2", "#d55e00")  # told apart by everyone (Okabe and Ito)


def draw(path: Path = PICTURE) -> Path:
    """Information, growth and level of both runs under ``fast``; needs their records."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = {case.name: case for case in all_cases()}
    figure, axes = pyplot.subplots(
        3, 1, figsize=(7.2, 6.2), sharex=True, height_ratios=(3, 3, 1.6), layout="constrained"
    )
    for (name, label), colour in zip(RUNS, _COLOURS, strict=True):
        _curves(axes, _checks(cases[name]), label, colour)
    _finish(axes)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _checks(case: Case) -> list[Report]:
    made = reports(load(case), PRESETS["fast"], "fast", Told())
    return [report for report in made if report.step <= _STEPS]


def _curves(axes: Any, made: list[Report], label: str, colour: str) -> None:
    steps = [report.step for report in made]
    latents = [report.latents["z"] for report in made]
    style = {"color": colour, "lw": 1.8}
    information = [latent.measures["information"] for latent in latents]
    axes[0].semilogy(steps, information, **style)
    axes[0].annotate(
        label,
        (steps[-1], information[-1]),
        (-4, 8),
        textcoords="offset points",
        ha="right",
        color=colour,
        weight="bold",
    )
    axes[1].plot(steps, [latent.measures.get("growth", np.nan) for latent in latents], **style)
    axes[2].step(steps, [int(latent.level) for latent in latents], where="post", **style)


def _finish(axes: Any) -> None:
    information, growth, level = axes
    information.axhline(0.5, color="0.6", lw=0.8, ls="--")
    information.set_ylabel("information, nats")
    information.set_title("Until step 300 both carry next to nothing", loc="left", fontsize=10)
    growth.axhspan(-2, 2, color="0.9")
    growth.axhline(0, color="0.6", lw=0.8)
    growth.set_ylabel("growth, t value")
    growth.set_title("Growth tells them apart within 60 steps", loc="left", fontsize=10)
    level.set_yticks(range(4), [kind.name for kind in Level])
    level.set_ylim(-0.3, 3.3)
    level.set_xlabel("training step")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlim(0, _STEPS)
