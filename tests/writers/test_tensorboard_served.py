"""What a running TensorBoard shows of ours over HTTP, with each of its two loaders."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from collapse_logging import Report
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.base import histograms
from tests.lightning.readers import events

from .board import ask, get, served_fast, served_slow
from .conftest import drive


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a collapse; another of two latents, whose user has a dashboard of their own."""
    root = tmp_path_factory.mktemp("served") / "root"
    drive([TensorBoardWriter(root / "run")])
    with SummaryWriter(str(root / "another")) as writer:
        writer.add_custom_scalars({"Mine": {"loss": ["Multiline", ["loss"]]}})
        drive([TensorBoardWriter(writer)], checks=3, latents=("z", "top"))
    return root


@pytest.fixture(scope="module")
def fast(root: Path) -> Iterator[str]:
    """The data server."""
    with served_fast(root) as address:
        yield address


@pytest.fixture(scope="module")
def slow(root: Path) -> str:
    """The loader in Python."""
    return served_slow(root)


@pytest.fixture(params=["fast", "slow"])
def address(request: pytest.FixtureRequest) -> str:
    """Each of the two in turn."""
    return str(request.getfixturevalue(request.param))


def test_scalars(address: str, reports: list[Report]) -> None:
    """Every scalar of the last report has a point a check, with step and value."""
    for tag in reports[-1].scalars():
        expected = {r.step: r.scalars()[tag] for r in reports if tag in r.scalars()}
        shown = get(address, "scalars/scalars", tag, len(expected))
        assert {step: value for _, step, value in shown} == pytest.approx(expected, rel=1e-6)


def test_histograms(address: str, reports: list[Report]) -> None:
    """Each histogram spans its own bins and counts each unit once."""
    for tag in histograms(reports[-1]):
        expected = [r.step for r in reports]  # ten, the eleventh, and the twelfth is the last
        shown = get(address, "histograms/histograms", tag, len(expected))
        assert [step for _, step, _ in shown] == expected
        bins = histograms(reports[expected.index(shown[-1][1])])[tag][1]
        assert sum(count for _, _, count in shown[-1][2]) == pytest.approx(6)
        assert shown[-1][2][0][0] == pytest.approx(bins[0])
        assert shown[-1][2][-1][1] == pytest.approx(bins[-1])


def test_histograms_are_the_same_under_both_loaders(
    fast: str, slow: str, reports: list[Report]
) -> None:
    """Untrimmed histograms would differ; ours give the same bins bar the clock."""
    for tag in histograms(reports[-1]):
        first = get(fast, "histograms/histograms", tag, 12)
        second = get(slow, "histograms/histograms", tag, 12)
        assert [(step, bins) for _, step, bins in first] == [
            (step, bins) for _, step, bins in second
        ]


def test_texts(address: str, reports: list[Report]) -> None:
    """The newest table of alerts has all of them, and the thresholds are there."""
    shown = get(address, "text/text", "collapse/alerts/text_summary", 3)[-1]["text"]
    for alert in (alert for report in reports for alert in report.alerts):
        assert f"<td>{alert.step}</td>" in shown
    assert "kl_threshold" in get(address, "text/text", "collapse/about/text_summary", 1)[0]["text"]


def dashboard(address: str) -> dict[str, list[Any]]:
    """The charts of each category, once both runs' are there."""
    layout = ask(
        address, "custom_scalars/layout", lambda found: len(found.get("category", [])) == 4
    )
    return {category["title"]: category["chart"] for category in layout["category"]}


def test_the_dashboard_is_there_and_the_users_own_stays(address: str) -> None:
    """Both runs' charts of ours, and theirs; no chart twice, though two runs have it."""
    found = dashboard(address)
    ours = [f"Posterior collapse{end}" for end in ("", ": z", ": top")]
    assert set(found) == {"Mine", *ours}
    assert [chart["title"] for chart in found["Mine"]] == ["loss"]
    for name in ours:
        titles = [chart["title"] for chart in found[name]]
        assert len(titles) == len(set(titles)) >= 1


def test_each_chart_has_data(address: str, reports: list[Report]) -> None:
    """What a chart asks for has a point a check; a margin's three tags have the same steps."""
    scalars = [report.scalars() for report in reports]
    for chart in dashboard(address)["Posterior collapse"]:
        if "margin" in chart:
            (series,) = chart["margin"]["series"]
            tags = [series["value"], series["lower"], series["upper"]]
        else:
            tags = [tag.strip("^$") for tag in chart["multiline"]["tag"]]
        expression = "|".join(chart.get("multiline", {}).get("tag", tags))
        points = sum(tags[0] in values for values in scalars)
        found = ask(
            address,
            "custom_scalars/scalars",
            lambda found, n=points: all(len(p) == n for p in found["tag_to_events"].values()),
            run="run",
            tag=expression,
        )["tag_to_events"]
        steps = {tag: [step for _, step, _ in found[tag]] for tag in tags}
        assert len(steps) <= 3
        assert all(at == steps[tags[0]] != [] for at in steps.values())


def test_the_maps_are_those_of_the_file(address: str, root: Path, reports: list[Report]) -> None:
    """The newest picture is the file's, byte for byte, at the last step."""
    tag = "collapse/z/information_map"
    last = reports[-1].step
    shown = ask(
        address,
        "images/images",
        lambda found: bool(found) and found[-1]["step"] == last,
        run="run",
        tag=tag,
        sample="0",
    )
    url = f"{address}/data/plugin/images/individualImage?{shown[-1]['query']}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        picture = answer.read()
    assert picture == events(root / "run").Images(tag)[-1].encoded_image_string
