"""``report``: the monitoring plot and a page with it, drawn outside the training process."""

from __future__ import annotations

import argparse
import functools
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..words import word
from .runs import Run, look
from .words import unknown

_LONGEST_NAME = 160
"""Bytes; most file systems take 255, and ours are put behind it."""

_ABOUT = """\
Draw what a detector recorded, during training or after: levels, information,
KL, growth, variances, active units, the reconstruction loss and each unit's
information. The result is a picture (PNG) and a page (HTML) with the picture,
the alerts and the settings, which opens without a network.
"""


def add_parser(commands: Any) -> None:
    """What can be typed."""
    parser = commands.add_parser(
        "report",
        help="draw the monitoring plot of a run: a picture and a page",
        description=_ABOUT,
        epilog="exit code: 0 if every run at the paths was drawn, else 2.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="as for check")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to (default: beside what was read)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw every run at the paths and say where the files are.

    Raises:
        ValueError: the only run cannot be drawn.
        ModuleNotFoundError: matplotlib is not installed.
    """
    language: str = options.language
    runs, code = look(options.paths, True, language), 0
    for found in runs:
        series = found.recording.series
        if found.recording.report is None or series is None or not len(series.steps):
            why = unknown(found.verdict, language)
            message = word(language, "note", run=found.name, why=why)
            if len(runs) == 1:
                raise ValueError(message)
            print(message, file=sys.stderr)
            code = 2
            continue
        picture, page = write(found, options.out, language)
        verdict = word(language, found.verdict.word)
        print(word(language, "run", verdict=verdict, run=found.name), picture, page, sep="\n  ")
    return code


def write(run: Run, out: Path | None, language: str = "en") -> tuple[Path, Path]:
    """Write picture and page of a run that has a check; returns their paths.

    Args:
        run: read with its series.
        out: folder, made if it is not there; None: the folder of what was read.
        language: of the page, and of the picture where there is a font for it.
    """
    from .figure import draw
    from .page import page

    folder, name = _place(run, out)
    folder.mkdir(parents=True, exist_ok=True)
    picture, text = folder / f"{name}.png", folder / f"{name}.html"
    drawn_in = _drawn_in(language)
    title = f"{run.name} — {word(drawn_in, run.verdict.word)}"
    drawn = draw(run.recording, title, drawn_in)
    html = page(run, drawn, language)
    write_whole(picture, drawn)
    write_whole(text, html.encode("utf-8", errors="backslashreplace"))
    return picture, text


@functools.cache
def _drawn_in(language: str) -> str:
    """The picture's language: English, said once, where no font has Chinese letters."""
    if language == "en":
        return language
    from .figure import chinese_fonts, font_lists

    if chinese_fonts():
        return language
    print(word(language, "no font", lists=font_lists()), file=sys.stderr)
    return "en"


def _place(run: Run, out: Path | None) -> tuple[Path, str]:
    """Folder and stem; several runs in one folder must not share a name."""
    name = "collapse_report"
    if run.recording.name not in (None, "collapse"):
        name = f"{name}_{_safe(str(run.recording.name))}"
    if out is None:
        return run.recording.folder, name
    return out, f"{_safe(run.name)}_{name}" if _safe(run.name) else name


def _safe(text: str) -> str:
    """A file's name; a long one is cut, and told apart by a mark of the whole."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:8]
    return name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + f"_{mark}"
