"""The information map: what a pixel says, and what a long run costs."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from collapse_logging import Level
from collapse_logging.writers.information_map import InformationMap, palette, png

STRIP = 12
"""Rows of the gap and the level below the units."""


def cells(history: InformationMap, columns: int) -> np.ndarray:
    """Palette indices by unit and column: one pixel of each cell, ``[units, columns]``."""
    pixels = history.pixels()
    wide = pixels.shape[1] // columns
    assert pixels.shape[1] == wide * columns
    units = pixels[:-STRIP, ::wide]
    changes = np.flatnonzero((units[1:] != units[:-1]).any(1)) + 1
    return units[np.concatenate([[0], changes])]


def levels(history: InformationMap) -> list[int]:
    """The level of each pixel of the lowest row."""
    return [int(index) - 252 for index in history.pixels()[-1]]


def test_a_collapse_turns_violet() -> None:
    """Units are sorted by what they carried, each check is a column, the newest on the right."""
    history = InformationMap()
    history.add(np.array([0.0, 0.2, 1.0]), Level.OK)
    history.add(np.array([0.0, 0.0, 0.0]), Level.RED)
    brightest, middle, darkest = cells(history, 2)
    assert brightest[0] > middle[0] > darkest[0] == 0
    assert [row[1] for row in (brightest, middle, darkest)] == [0, 0, 0]
    assert set(levels(history)[:160]) == {0}
    assert set(levels(history)[160:]) == {3}


@pytest.mark.parametrize("nats", [0.0, 0.026, 0.35, 2.0, 1e4])
def test_the_colour_is_the_share_that_depends_on_the_data(nats: float) -> None:
    """1 - e^(-2U) of the whole scale, always the same one, whatever the others carry."""
    history = InformationMap()
    history.add(np.array([nats]), Level.OK)
    assert history.pixels()[0, 0] == round(249 * (1 - math.exp(-2 * nats)))


def test_what_is_not_known_is_grey() -> None:
    """NaN and infinity are no information and no zero."""
    history = InformationMap()
    history.add(np.array([math.nan, math.inf, 0.0]), Level.OK)
    indices = history.pixels()[:-STRIP, 0]
    assert set(indices) == {0, 250}
    red, green, blue = palette()[250]
    assert red == green == blue


@pytest.mark.parametrize(("checks", "columns"), [(100, 100), (101, 51), (200, 100), (201, 51)])
def test_a_long_run_is_merged(checks: int, columns: int) -> None:
    """At most 100 columns; each is the mean of as many checks, and the worst of their levels."""
    history = InformationMap()
    for n in range(checks):
        history.add(np.array([0.1 if n % 2 else 0.3]), Level.RED if n == 40 else Level.OK)
    found = levels(history)
    wide = len(found) // columns
    assert found[::wide].count(3) == 1
    assert found[::wide].index(3) == 40 * columns // checks
    if checks > 101:
        merged = round(249 * (1 - math.exp(-2 * 0.2)))
        assert history.pixels()[0, 0] == merged


def test_memory_is_bounded() -> None:
    """Ten thousand checks of a thousand units: 100 columns of 256 rows, and a small file."""
    history = InformationMap()
    information = np.random.default_rng(0).exponential(size=1000)
    for _ in range(10_000):
        history.add(information, Level.OK)
    pixels = history.pixels()
    assert pixels.shape[0] <= 256 + STRIP
    assert pixels.shape[1] <= 320
    assert len(history._columns) <= 100
    assert len(png(pixels)) < 50_000


def test_many_units_share_rows() -> None:
    """Beyond 256 units a row is the mean of neighbours, the last of those that are left."""
    history = InformationMap()
    history.add(np.repeat([0.0, 1.0], [300, 301]), Level.OK)
    units = history.pixels()[:-STRIP, 0]
    assert len(units) == 201  # three a row
    assert units[0] == round(249 * (1 - math.exp(-2)))
    assert (units[:100] == units[0]).all()
    assert units[-1] == 0


def test_another_number_of_units_starts_afresh() -> None:
    """A latent that changed its size is another latent: the old columns are gone."""
    history = InformationMap()
    history.add(np.array([1.0, 1.0]), Level.RED)
    history.add(np.array([1.0, 1.0, 1.0]), Level.OK)
    assert set(levels(history)) == {0}


def test_the_file_is_what_was_painted() -> None:
    """The PNG holds the palette's colours at the pixels' places."""
    history = InformationMap()
    for n in range(7):
        history.add(np.linspace(0.0, 2.0, 5) / (n + 1), Level.ORANGE)
    image = Image.open(io.BytesIO(png(history.pixels())))
    assert np.array_equal(np.asarray(image.convert("RGB")), palette()[history.pixels()])


def test_the_palette_gets_brighter() -> None:
    """More information is lighter, to the eye and in grey: luminance rises all the way."""
    luminance = palette()[:250].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > -0.5).all()
    assert luminance[-1] > 5 * luminance[0]
