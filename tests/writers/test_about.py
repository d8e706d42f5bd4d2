"""TensorBoard's about text: nothing that is shown or set is left unexplained."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest
from tensorboard.plugin_util import markdown_to_safe_html

from collapse_logging import Level, Report
from collapse_logging.rules import PRESETS, Rules
from collapse_logging.terminal import columns
from collapse_logging.words import LANGUAGES, catalogue
from collapse_logging.writers import Writer
from collapse_logging.writers.about import MEASURES, about

from .conftest import drive


class Kept(Writer):
    """Keeps the settings."""

    def open(self, settings: Mapping[str, Any]) -> None:
        """Keep them."""
        self.settings = settings

    def write(self, report: Report) -> None:
        """Keep nothing."""


def rows(html: str) -> dict[str, list[str]]:
    """The tables' rows by their first cell."""
    found = {}
    for row in re.findall("<tr>(.*?)</tr>", html, re.DOTALL):
        first, *rest = re.findall("<td>(.*?)</td>", row, re.DOTALL) or [""]
        found[first] = rest
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_is_explained(reports: list[Report], language: str) -> None:
    """Each scalar of a report has a row; p10, p50 and p90 are named with their mean."""
    explained = rows(markdown_to_safe_html(about({"language": language})))
    tags = {tag.rsplit("/", 1)[1] for report in reports for tag in report.scalars()}
    tags |= {"nonfinite", "clamped", "within_batch_variance"}  # only there when there is trouble
    for name in tags:
        base = re.sub("_p(10|50|90)$", "", name)
        assert base in explained, f"say in words/ what 'measure {base}' is, and name it in MEASURES"
        assert base == name or name[-3:] in explained[base][0]
    assert explained.keys() >= set(MEASURES)


def test_no_number_is_left_out() -> None:
    """What the catalogue explains is in the text."""
    assert [key for key in catalogue("en") if key.startswith("measure ")] == [
        f"measure {m}" for m in MEASURES
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_setting_is_shown_and_explained(preset: str, language: str) -> None:
    """Each field of the rules in force has its value and a few words beside it."""
    settings = dataclasses.asdict(PRESETS[preset]) | {"language": language}
    explained = rows(markdown_to_safe_html(about(settings)))
    for field in dataclasses.fields(Rules):
        value, meaning = explained[field.name]
        expected = getattr(PRESETS[preset], field.name)
        assert value == (catalogue(language)["about none"] if expected == () else str(expected))
        assert meaning, f"say in words/ what 'setting {field.name}' is"
    known = {key.removeprefix("setting ") for key in catalogue("en") if key.startswith("setting ")}
    assert settings.keys() == known - {"optional"}  # the monitor adds it


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_monitor_adds_is_explained(language: str) -> None:
    """Every setting that a writer is handed has a few words, the language and optional too."""
    kept = Kept()
    drive([kept], checks=1, language=language, optional=["z"])
    explained = rows(markdown_to_safe_html(about(kept.settings)))
    assert explained["language"] == [language, catalogue(language)["setting language"]]
    assert explained["optional"][1]
    assert all(explained[name][1] for name in kept.settings)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_level_says_what_to_do(language: str) -> None:
    """Level by number and sign, as on the chart; what it means; what to do."""
    explained = rows(markdown_to_safe_html(about({"language": language})))
    say = catalogue(language)
    for level in Level:
        meaning, action = explained[f"{int(level)} {level.emoji} {say[level.name]}"]
        for text, key in ((meaning, "meaning"), (action, "action")):
            assert re.sub(r"<br>|\s", "", text) == re.sub(r"\s", "", say[f"{key} {level.name}"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_are_short(language: str) -> None:
    """A long line in a cell makes TensorBoard break the words of its neighbours."""
    html = markdown_to_safe_html(about({"ignore": ("a" * 99, "b"), "language": language}))
    cells = [cell for row in rows(html).values() for cell in row]
    assert max(columns(line) for cell in cells for line in cell.split("<br>")) <= 60


def test_settings_cannot_smuggle_markup() -> None:
    """A setting of the user's own is shown as it is."""
    name = "<img src=x> | ![p](http://x.y/z.png) *a* <script>"
    html = markdown_to_safe_html(about({"ignore": name}))
    plain = markdown_to_safe_html(about({"ignore": "z"}))
    for tag in ("<img", "<a ", "<script", "<em", "<td", "<tr"):
        assert html.count(tag) == plain.count(tag)
