"""What watching costs, drawn from the committed figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .figures import own_seconds, own_share, step_seconds
from .grid import CONTROL
from .tables import RESULTS

PICTURE = Path(__file__).parents[2] / "docs" / "overhead.png"
_OURS, _OTHERS, _INK, _FAINT = "#0072b2", "#b8b8b8", "0.25", "0.6"
_TARGET = 0.5
_LABELS = {
    "ours": "collapse_logging\ndefaults, TensorBoard, ledger",
    "torchmetrics": "torchmetrics\nupdate each step",
    "manual": "the manual's way\nevery 50 steps, a figure every 500",
    "self.log": "Lightning's self.log\nten numbers each step",
}


def draw(path: Path = PICTURE) -> Path:
    """Two panels: the grid's own time with defaults, and ours beside what people do instead."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    result = json.loads((RESULTS / "result.json").read_text(encoding="utf-8"))
    style = {"font.size": 9, "axes.edgecolor": _FAINT, "axes.labelcolor": _INK}
    with pyplot.rc_context(style):
        figure, (left, right) = pyplot.subplots(
            1, 2, figsize=(9.6, 3.9), width_ratios=(1.0, 1.1), layout="constrained"
        )
        _grid(left, result["grid"])
        _beside(right, result["baselines"])
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
    return path


def _grid(axes: Any, rows: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for row in rows:
        step = 1e3 * step_seconds(row)
        found = 100 * np.array(own_share(row["watched"], row[CONTROL]))
        budget = row["observed"] == "budget"
        axes.errorbar(
            step,
            found[0],
            [[found[0] - found[1]], [found[2] - found[0]]],
            fmt="o" if row["writer"] == "none" else "s",
            ms=5,
            lw=1.0,
            color=_OURS if budget else _OTHERS,
            mfc=None if row["writer"] == "none" else "white",
        )
    axes.axhline(_TARGET, color=_FAINT, lw=0.8, ls="--")
    axes.annotate(
        "target 0.5 %",
        (0, _TARGET),
        (3, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        color=_FAINT,
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="a training step takes, ms",
        ylabel="own time, % of the step",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    for height, (text, colour) in enumerate(
        (("with defaults", _OURS), ("every step observed", _FAINT))
    ):
        place = (0.02, 0.16 + 0.07 * height)
        axes.annotate(f"● {text}", place, xycoords="axes fraction", color=colour)
    _plain(axes, "What watching takes of a step (open: with TensorBoard)")


def _beside(axes: Any, given: dict[str, Any]) -> None:
    costs = {name: 1e6 * own_seconds(given, name) for name in _LABELS}
    names = sorted(costs, key=costs.__getitem__)
    values = [costs[name] for name in names]
    colours = [_OURS if name == "ours" else _OTHERS for name in names]
    bars = axes.barh([_LABELS[name] for name in names], values, color=colours, height=0.62)
    axes.bar_label(bars, [f"{value:,.0f} µs" for value in values], padding=4, color=_INK)
    axes.set_xlim(0, 1.18 * max(values))
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    _plain(axes, "Processor time a step")


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
