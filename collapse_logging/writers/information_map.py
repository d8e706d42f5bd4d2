"""A latent's history as a picture: units by checks, coloured by what each unit carries."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..report import Level, Vector

_MOST_COLUMNS = 100
_MOST_ROWS = 256
_WIDTH, _HEIGHT, _STRIP = 320, 180, 10
"""Pixels to fill; TensorBoard enlarges a picture to its card, and small ones are cheap."""

_VIRIDIS = (
    "440154",
    "472d7b",
    "3b528b",
    "2c728e",
    "21918c",
    "28ae80",
    "5ec962",
    "addc30",
    "fde725",
)
_LEVELS = ("43a047", "fdd835", "fb8c00", "d32f2f")
_SHADES = 250
_UNKNOWN, _BLANK, _FIRST_LEVEL = _SHADES, _SHADES + 1, _SHADES + 2


class _Column(NamedTuple):
    """Neighbouring checks: how many, their mean information ``[rows]`` and their worst level."""

    checks: int
    information: Vector
    level: Level

    def merge(self, other: _Column) -> _Column:
        checks = self.checks + other.checks
        total = self.checks * self.information + other.checks * other.information
        return _Column(checks, total / checks, max(self.level, other.level))


class InformationMap:
    """Information per unit over a run, in bounded memory, and the picture of it.

    At most 256 rows (beyond that neighbouring units share one, with their mean) and 100 columns:
    when these are full, neighbours are merged, and each stands for twice as many checks.
    """

    def __init__(self) -> None:
        self._columns: list[_Column] = []
        self._checks = 1

    def add(self, information: Vector, level: Level) -> None:
        """Take one check: nats ``[units]`` and the latent's level."""
        new = _Column(1, _rows(information), level)
        if self._columns and self._columns[-1].information.shape != new.information.shape:
            self._columns = []  # another latent under the same name
        if self._columns and self._columns[-1].checks < self._checks:
            self._columns[-1] = self._columns[-1].merge(new)
            return
        if len(self._columns) == _MOST_COLUMNS:
            pairs = zip(self._columns[::2], self._columns[1::2], strict=True)
            self._columns = [left.merge(right) for left, right in pairs]
            self._checks *= 2
        self._columns.append(new)

    def pixels(self) -> NDArray[np.uint8]:
        """Indices into :func:`palette`, ``[height, width]``.

        From left to right the checks; from the top the units, those with the most information
        over the run first, so that the height of the bright part is how many units live; below
        a gap the level. The colour is 1 - e^(-2U), the share of a unit's variance that depends
        on the data: always the same scale, so pictures of different runs compare.
        """
        information = np.stack([column.information for column in self._columns], axis=1)
        known = np.isfinite(information)
        share = -np.expm1(-2.0 * np.where(known, information, 0.0))
        order = np.argsort(-share.sum(1), kind="stable")
        shades = np.rint(share * (_SHADES - 1))
        units = np.where(known, shades, _UNKNOWN)[order].astype(np.uint8)
        high = max(1, _HEIGHT // units.shape[0])
        levels = np.array([_FIRST_LEVEL + column.level for column in self._columns], np.uint8)
        blank = np.full((_STRIP // 4, levels.size), _BLANK, np.uint8)
        picture = np.concatenate(
            [units.repeat(high, axis=0), blank, levels[None].repeat(_STRIP, axis=0)]
        )
        return picture.repeat(max(1, _WIDTH // levels.size), axis=1)


def palette() -> NDArray[np.uint8]:
    """Red, green and blue ``[256, 3]``: viridis, grey for what is not finite, white, the levels.

    Source: viridis by van der Walt and Smith 2015 (CC0), perceptually uniform and safe for the
    colour-blind.
    """
    stops = _colours(_VIRIDIS)
    place = np.linspace(0, len(stops) - 1, _SHADES)
    shades = [np.interp(place, np.arange(len(stops)), channel) for channel in stops.T]
    others = _colours(("bdbdbd", "ffffff", *_LEVELS))
    return np.concatenate([np.rint(np.stack(shades, axis=1)), others]).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The picture as a PNG file of one byte a pixel.

    Raises:
        ImportError: ``pillow`` is not installed.
    """
    from PIL import Image

    image: Any = Image.fromarray(pixels)
    image.putpalette(palette().tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _colours(hexadecimal: tuple[str, ...]) -> Vector:
    return np.array([list(bytes.fromhex(colour)) for colour in hexadecimal], dtype=np.float64)


def _rows(values: Vector) -> Vector:
    """At most 256 values, means of as many neighbouring units each."""
    size = -(-len(values) // _MOST_ROWS)
    if size == 1:
        return values
    starts = np.arange(0, len(values), size)
    means: Vector = np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
    return means
