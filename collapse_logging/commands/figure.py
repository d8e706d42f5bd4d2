"""The monitoring plot: levels, information, KL, growth, variances, active units, loss, units."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from ..reading import Recording, Series
from ..words import word
from . import panels
from .panels import GREY, LINES, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LATENTS, _MOST_MAPS = len(LINES), 4
_WIDTH, _TOP, _GAP = 11.0, 0.9, 0.62
"""Inches: the figure's width, the room for the headline, and that between two rows."""

_HEADLINE: Any = {"fontsize": 13, "fontweight": "bold", "va": "center"}
_PANELS = (
    panels.information,
    panels.kl,
    panels.growth,
    panels.variances,
    panels.active,
    panels.loss,
)
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Noto Sans CJK JP",
)
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b8bdc4",
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e8eb",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.linewidth": 1.4,
}


def draw(recording: Recording, title: str, language: str = "en") -> bytes:
    """Draw a recording with its series; returns a PNG.

    Args:
        recording: read with ``series=True``, with one check or more.
        title: the headline.
        language: of the words in it; Chinese only where there is one of :func:`chinese_fonts`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    matplotlib = _matplotlib()
    families = ["DejaVu Sans", *chinese_fonts()]
    with matplotlib.rc_context({**_STYLE, "font.family": families}), warnings.catch_warnings():
        # a letter that no installed font has is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        picture = io.BytesIO()
        figure(recording, title, language).savefig(picture, dpi=110, format="png")
    return picture.getvalue()


def figure(recording: Recording, title: str, language: str = "en") -> Figure:
    """The figure, not yet on paper."""
    from matplotlib.figure import Figure

    series = recording.series
    assert series is not None  # read with series=True
    assert recording.report is not None
    shown = latents(recording)
    maps = [name for name in shown if name in series.units][:_MOST_MAPS]
    heights = [0.3 + 0.25 * len(shown), *(3 * [1.75]), *(len(maps) * [1.6])]
    drawn = Figure(figsize=(_WIDTH, sum(heights) + _GAP * len(heights) + _TOP))
    grid = _grid(
        drawn,
        heights,
        margin=max(0.6, 0.25 + 0.09 * max(len(panels.label(name)) for name in shown)),
    )
    drawn.text(0.2 / _WIDTH, 1 - 0.32 / drawn.get_figheight(), plain(title), **_HEADLINE)
    diverged = [(a.step, a.latent) for a in recording.alerts if a.kind == "explosion"]
    axes = drawn.add_subplot(grid[0, :])
    axes.set_title(_strip_title(len(shown), len(recording.report.latents), language))
    panels.strip(axes, series, shown, diverged, language)
    for i, panel in enumerate(_PANELS):
        axes = drawn.add_subplot(grid[1 + i // 2, i % 2])
        panel(axes, recording, shown, language)
        panels.mark(axes, recording)
    for i, name in enumerate(maps):
        panels.unit_map(drawn.add_subplot(grid[4 + i, :]), name, series.units[name], language)
    for axes in drawn.axes:
        axes.set_xlim(*_span(series))
        axes.xaxis.set_major_formatter(_in_thousands)
    step = word(language, "figure step")
    drawn.axes[0].set_xlabel(step, color=GREY, fontsize=8, labelpad=1)
    return drawn


def _grid(drawn: Figure, heights: list[float], margin: float) -> Any:
    """Rows of these heights in inches, and a left margin for names; matplotlib's own takes 2 s."""
    height = drawn.get_figheight()
    mean = sum(heights) / len(heights)
    return drawn.add_gridspec(
        len(heights),
        2,
        height_ratios=heights,
        left=min(margin, 2.4) / _WIDTH,
        right=1 - 0.75 / _WIDTH,
        top=1 - _TOP / height,
        bottom=0.6 * _GAP / height,
        hspace=_GAP / mean,
        wspace=0.16,
    )


def _strip_title(shown: int, there: int, language: str) -> str:
    key = "figure worst" if there > shown else "figure level"
    return word(language, key, shown=shown, there=there)


def _in_thousands(step: float, position: float) -> str:
    """A step on the axis: 800, 1,200, 25k, 1.5M."""
    if abs(step) >= 1e6:
        return f"{step / 1e6:g}M"
    return f"{step / 1e3:g}k" if abs(step) >= 1e4 else f"{step:,g}"


def latents(recording: Recording) -> list[str]:
    """The latents to draw, the worst first."""
    assert recording.report is not None  # there was a check
    found = recording.report.latents
    return sorted(found, key=lambda name: -found[name].level)[:_MOST_LATENTS]


def chinese_fonts() -> list[str]:
    """A font with Chinese letters, if there is one; of Noto's file old matplotlibs see JP alone.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    _matplotlib()
    from matplotlib import font_manager

    installed = font_manager.get_font_names()
    return [name for name in _CHINESE if name in installed][:1]


def font_lists() -> str:
    """The files in which matplotlib remembers the fonts; it does not see a new one by itself."""
    return f"{_matplotlib().get_cachedir()}/fontlist-*.json"


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ModuleNotFoundError(
            "the report is drawn with matplotlib, which is not installed; "
            "pip install 'collapse-logging[report]'."
        ) from error
    return matplotlib


def _span(series: Series) -> tuple[float, float]:
    first, last = float(series.steps[0]), float(series.steps[-1])
    return (first, last) if last > first else (first - 1.0, last + 1.0)
