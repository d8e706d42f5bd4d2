"""The simulated day: its small form, its judgement, and the table that is committed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.detection.truth import Truth
from benchmarks.early.__main__ import ALLOWED, RESULTS, kept, row
from benchmarks.early.day import CASES, HOURS, Outcome, day

BY_NAME = {case.name: case for case in CASES}
NOTHING, MUCH = Truth(0.01, 6.0, 0.0, 0.02), Truth(2.0, 6.0, 9.0, 0.4)


def outcome(name: str, **other: object) -> Outcome:
    """A day of 2,400 steps that went as it should."""
    collapses = BY_NAME[name].collapses
    truths = (NOTHING if collapses else MUCH,) * 3
    good = Outcome(BY_NAME[name], 2400, None, None, truths, 0.0)
    if collapses:
        good = replace(good, first_red=good.cause_at + 150)
    return replace(good, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_good_day_keeps_the_promise(name: str) -> None:
    """Red an hour and a half after the cause where there is one, else never."""
    good = outcome(name)
    assert kept(good)
    assert good.hours == (1.5 if good.case.collapses else None)
    assert row(good).endswith("| yes |")


@pytest.mark.parametrize(
    "bad",
    [
        outcome("averaged", first_red=201),
        outcome("averaged", first_red=None),
        outcome("averaged", truths=(MUCH,) * 3),
        outcome("averaged", truths=(NOTHING, MUCH, NOTHING)),
        outcome("healthy", first_false_red=900),
        outcome("healthy", truths=(NOTHING,) * 3),
        outcome("late", first_red=1401),
        outcome("late", first_false_red=300),
    ],
)
def test_a_bad_day_does_not(bad: Outcome) -> None:
    """Late, missed, accused in vain, or no collapse at all."""
    assert not kept(bad)
    assert row(bad).endswith("| **no** |")


def test_a_short_day_with_the_commonest_mistake() -> None:
    """The averaged loss is red at once, and the held-out patients say that it has collapsed."""
    found = day(BY_NAME["averaged"], 240)
    assert found.truth == "collapsed"
    assert found.first_red is not None
    assert found.first_red < 120
    assert found.first_false_red is None
    assert found.hours == pytest.approx(found.first_red / 240 * HOURS)


def test_a_short_day_without_a_mistake() -> None:
    """It is healthy by the same measure, and is not accused."""
    found = day(BY_NAME["healthy"], 240)
    assert found.truth == "healthy"
    assert found.first_red is None
    assert found.first_false_red is None


def test_the_committed_table_keeps_the_promise() -> None:
    """The healthy day is not accused, three causes are red in time, and no row is left out."""
    text = RESULTS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \*\*(\w+)\*\*.*\| ([\d.]*) \| (\w+) .*\| (\S+) \|$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == list(BY_NAME)
    for name, hours, truth, promise in rows:
        in_time = not hours if name == "healthy" else 0 < float(hours) <= ALLOWED
        real = truth == ("collapsed" if BY_NAME[name].collapses else "healthy")
        assert (promise == "yes") == (in_time and real)
    assert {"healthy", "averaged", "beta", "shortcut"} <= {
        n for n, *_, kept in rows if kept == "yes"
    }
    assert "Nothing ran for a day" in text
