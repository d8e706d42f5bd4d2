"""The panels of the monitoring plot, each drawn into axes that it is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reading import Recording, Series, UnitHistory
from ..report import Level
from ..words import catalogue, word
from ..writers.base import printable
from .curves import stretches, thin
from .words import first_red

COLOURS = {
    Level.OK: "#3a9d5d",
    Level.YELLOW: "#f0c419",
    Level.ORANGE: "#ee8130",
    Level.RED: "#cc2f32",
}
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31", "#444444", "#b39ddb")
"""Okabe and Ito's, which colour-blind people can tell apart, and two more."""

GREY = "#5f6670"
_DASHES = (0, (3, 2))
_FEW_UNITS = 16
_GROWTH_TICKS = (-1000, -100, -10, -2, 0, 2, 10, 100, 1000)


def label(name: str) -> str:
    """A latent's name as it may stand in a figure: one line, not long, no formula."""
    name = printable(name)
    return plain(name if len(name) <= 20 else name[:19] + "…")


def plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return printable(text).replace("$", r"\$")


def titled(axes: Any, key: str, language: str, **values: object) -> None:
    """A bold title from the catalogue, and in grey what it means."""
    axes.set_title(word(language, f"figure {key}", **values))
    note = word(language, f"figure {key} note")
    axes.set_title(note, loc="right", fontsize=8, color=GREY, fontweight="normal")


def strip(
    axes: Any,
    series: Series,
    shown: list[str],
    diverged: list[tuple[int, str]],
    language: str = "en",
) -> None:
    """A row a latent, coloured by level; each stretch at least a pixel wide, the worst on top.

    A latent's name has the colour of its curves below, so that no legend covers them.

    Args:
        axes: where to draw.
        series: with the levels.
        shown: the latents.
        diverged: step and latent of each explosion, shown as a cross.
        language: of the legend.
    """
    for row, name in enumerate(shown):
        found = list(stretches(series.steps, series.scalars[f"{name}/level"]))
        for level in Level:
            spans = [(start, end - start) for start, end, at in found if at == level]
            axes.broken_barh(spans, (row + 0.12, 0.76), color=COLOURS[level], linewidth=0.8)
    crosses = [(step, shown.index(name) + 0.5) for step, name in diverged if name in shown]
    if crosses:
        axes.scatter(*zip(*crosses, strict=True), marker="x", color="black", zorder=3)
    axes.set_ylim(len(shown), 0)
    axes.set_yticks([row + 0.5 for row in range(len(shown))], [label(name) for name in shown])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    if len(shown) > 1:
        for text, colour in zip(axes.get_yticklabels(), LINES, strict=False):
            text.set(color=colour, fontweight="bold")
    handles = [
        axes.barh(0, 0, color=COLOURS[level], label=word(language, level.name)) for level in Level
    ]
    if crosses:
        diverges = word(language, "figure diverges")
        handles.append(axes.scatter([], [], marker="x", color="black", label=diverges))
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), **_legend(5))


def information(axes: Any, recording: Recording, shown: list[str], language: str = "en") -> None:
    """What each latent carries, with the lowest limit that its size allows."""
    titled(axes, "information", language)
    _curves(axes, recording, shown, "information", log=True)
    _limit(axes, recording, "information_limit", language, "figure lowest limit")


def kl(axes: Any, recording: Recording, shown: list[str], language: str = "en") -> None:
    """What the loss pays."""
    titled(axes, "kl", language)
    _curves(axes, recording, shown, "kl", log=True)
    _limit(axes, recording, "kl_threshold", language)


def growth(axes: Any, recording: Recording, shown: list[str], language: str = "en") -> None:
    """Where training pushes; between the limits it says nothing."""
    titled(axes, "growth", language)
    limit = float(recording.settings.get("growth_limit", 2.0))
    axes.axhspan(-limit, limit, color="#eef0f2", zorder=0)
    _curves(axes, recording, shown, "growth")
    axes.set_yscale("symlog", linthresh=2.0)
    low, high = axes.get_ylim()
    axes.set_yticks(_GROWTH_TICKS, [f"{tick:,}".replace("-", "−") for tick in _GROWTH_TICKS])
    axes.set_yticks([], minor=True)
    axes.set_ylim(min(low, -1.5 * limit), max(high, 1.5 * limit))


def variances(axes: Any, recording: Recording, shown: list[str], language: str = "en") -> None:
    """In a collapse the posterior's variance becomes the prior's, and that of the means 0."""
    titled(axes, "variances", language)
    _curves(axes, recording, shown, "posterior_variance", log=True)
    _curves(axes, recording, shown, "mean_variance", log=True, linestyle=_DASHES)
    axes.axhline(1.0, color=GREY, linewidth=0.9, linestyle=":")
    handles = [axes.plot([], [], color=GREY, linestyle=style)[0] for style in ("-", _DASHES)]
    labels = [word(language, "figure posterior"), word(language, "figure means")]
    axes.legend(handles, labels, fontsize=8, **_legend(1))


def active(axes: Any, recording: Recording, shown: list[str], language: str = "en") -> None:
    """The share of units whose mean depends on the data."""
    titled(axes, "active", language)
    _curves(axes, recording, shown, "active_fraction")
    axes.set_ylim(-0.04, 1.06)
    _limit(axes, recording, "active_units_threshold", language)


def loss(axes: Any, recording: Recording, shown: list[str], language: str = "en") -> None:
    """The reconstruction loss, which belongs to the run and not to a latent."""
    axes.set_title(word(language, "figure loss"))
    series = recording.series
    values = series.scalars.get("reconstruction_loss") if series else None
    if series is None or values is None or not np.isfinite(values).any():
        style = {"ha": "center", "color": GREY, "transform": axes.transAxes}
        axes.text(0.5, 0.5, word(language, "figure no loss"), **style)
        axes.set_yticks([])
        return
    axes.plot(*thin(series.steps, values), color="#30343a")


def mark(axes: Any, recording: Recording) -> None:
    """A line where it first was red."""
    red = first_red(recording)
    if red is not None:
        axes.axvline(red, color=COLOURS[Level.RED], linewidth=0.9, alpha=0.8)


def unit_map(axes: Any, name: str, units: UnitHistory, language: str = "en") -> None:
    """Units by steps; the most informative on top, because their order means nothing."""
    from matplotlib.colors import LogNorm

    known = np.nan_to_num(units.values, nan=0.0, posinf=0.0)
    order = np.argsort(-known.mean(0), kind="stable")
    steps = units.steps if len(units.steps) > 1 else units.steps[0] + np.array([-1.0, 1.0])
    edges = np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])
    edges = edges if len(units.steps) > 1 else steps
    values = np.clip(known[:, order].T, 1e-4, None)
    scale = LogNorm(1e-4, max(1.0, float(values.max())))
    rows = np.arange(len(order) + 1)
    mesh = axes.pcolormesh(edges, rows, values, norm=scale, cmap="viridis", rasterized=True)
    axes.invert_yaxis()
    axes.grid(False)
    few = len(order) <= _FEW_UNITS
    axes.set_yticks(rows[:-1] + 0.5 if few else [], order if few else [])
    axes.tick_params(axis="y", length=0)
    unit = word(language, "figure unit" if few else "figure units", count=len(order))
    axes.set_ylabel(unit, color=GREY)
    titled(axes, "map", language, latent=label(name))
    bar = axes.inset_axes((1.012, 0.0, 0.012, 1.0))
    axes.figure.colorbar(mesh, cax=bar).ax.minorticks_off()


def _legend(columns: int) -> dict[str, Any]:
    return {"ncols": columns, "frameon": False, "handlelength": 1.4, "borderaxespad": 0.2}


def _curves(
    axes: Any,
    recording: Recording,
    shown: list[str],
    measure: str,
    log: bool = False,
    linestyle: Any = "-",
) -> None:
    series = recording.series
    assert series is not None  # the recording was read with its series
    nothing = np.full(len(series.steps), np.nan)
    for colour, name in zip(LINES, shown, strict=False):
        values = series.scalars.get(f"{name}/{measure}", nothing)
        values = np.where(values > 0, values, np.nan) if log else values
        steps, values = thin(series.steps, values)
        marker = "o" if len(steps) == 1 else None
        style = {"color": colour, "linestyle": linestyle, "marker": marker}
        axes.plot(steps, values, **style)
    if log:
        axes.set_yscale("log")
        axes.minorticks_off()


def _limit(
    axes: Any, recording: Recording, setting: str, language: str, key: str = "figure limit"
) -> None:
    value = recording.settings.get(setting)
    if not value:
        return
    axes.axhline(value, color=GREY, linewidth=0.9, linestyle=":")
    low, high = axes.get_ylim()
    room = 4.0 if axes.get_yscale() == "log" else 1.1  # for the text above the line
    axes.set_ylim(min(low, value * 0.7), max(high, value * room))
    axes.annotate(
        catalogue(language)[key].format(value),
        (1.0, value),
        (-2, 2),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        color=GREY,
    )
