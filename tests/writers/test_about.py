"""TensorBoard's about text: nothing that is shown or set is left unexplained."""

from __future__ import annotations

import dataclasses
import re

import pytest
from tensorboard.plugin_util import markdown_to_safe_html

from collapse_logging import Level, Report
from collapse_logging.rules import PRESETS, Rules
from collapse_logging.writers.about import LEVELS, MEASURES, SETTINGS, about


def rows(html: str) -> dict[str, list[str]]:
    """The tables' rows by their first cell."""
    found = {}
    for row in re.findall("<tr>(.*?)</tr>", html, re.DOTALL):
        first, *rest = re.findall("<td>(.*?)</td>", row, re.DOTALL) or [""]
        found[first] = rest
    return found


def test_every_number_is_explained(reports: list[Report]) -> None:
    """Each scalar of a report has a row; p10, p50 and p90 are named with their mean."""
    explained = rows(markdown_to_safe_html(about({})))
    tags = {tag.rsplit("/", 1)[1] for report in reports for tag in report.scalars()}
    tags |= {"nonfinite", "clamped", "within_batch_variance"}  # only there when there is trouble
    for name in tags:
        base = re.sub("_p(10|50|90)$", "", name)
        assert base in explained, f"say in MEASURES what {base} is"
        assert base == name or name[-3:] in explained[base][0]
    assert explained.keys() >= MEASURES.keys()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_setting_is_shown_and_explained(preset: str) -> None:
    """Each field of the rules in force has its value and a few words beside it."""
    settings = dataclasses.asdict(PRESETS[preset])
    explained = rows(markdown_to_safe_html(about(settings)))
    for field in dataclasses.fields(Rules):
        value, meaning = explained[field.name]
        expected = getattr(PRESETS[preset], field.name)
        assert value == ("none" if expected == () else str(expected))
        assert meaning, f"say in SETTINGS what {field.name} is"
    assert settings.keys() == SETTINGS.keys() - {"optional"}  # the monitor adds it


def test_each_level_says_what_to_do() -> None:
    """Level by number and sign, as on the chart; what it means; what to do."""
    explained = rows(markdown_to_safe_html(about({})))
    for level in Level:
        meaning, action = explained[f"{int(level)} {level.emoji} {level.name}"]
        assert meaning.replace("<br>", " ") == LEVELS[level][0]
        assert action.replace("<br>", " ") == LEVELS[level][1]


def test_lines_are_short() -> None:
    """A long line in a cell makes TensorBoard break the words of its neighbours."""
    html = markdown_to_safe_html(about({"ignore": ("a", "b")}))
    cells = [cell for row in rows(html).values() for cell in row]
    assert max(len(line) for cell in cells for line in cell.split("<br>")) <= 60


def test_settings_cannot_smuggle_markup() -> None:
    """A setting of the user's own is shown as it is."""
    name = "<img src=x> | ![p](http://x.y/z.png) *a* <script>"
    html = markdown_to_safe_html(about({"ignore": name}))
    plain = markdown_to_safe_html(about({"ignore": "z"}))
    for tag in ("<img", "<a ", "<script", "<em", "<td", "<tr"):
        assert html.count(tag) == plain.count(tag)
