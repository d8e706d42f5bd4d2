"""What a running TensorBoard shows of ours over HTTP, with each of its two loaders."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tensorboard import program

from collapse_logging import Report
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.base import histograms

from .conftest import drive

PATIENCE = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of a collapse in it."""
    root = tmp_path_factory.mktemp("served")
    drive([TensorBoardWriter(root / "run")])
    return root


@pytest.fixture(scope="module")
def fast(root: Path) -> Iterator[str]:
    """The data server, which only the command line starts."""
    log = root.parent / "tensorboard.log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(root)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", "0", "--load_fast", "true"], stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := [w for w in log.read_text().split() if w.startswith("http://local")]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[0].rstrip("/")
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def slow(root: Path) -> str:
    """The loader in Python, served by a daemon thread of this process."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(root), "--port", "0", "--load_fast", "false"])
    return board.launch().rstrip("/")


@pytest.fixture(params=["fast", "slow"])
def address(request: pytest.FixtureRequest) -> str:
    """Each of the two in turn."""
    return str(request.getfixturevalue(request.param))


def get(address: str, plugin: str, tag: str, points: int) -> list[Any]:
    """A plugin's answer for a tag of the run, once it has at least so many points."""
    url = f"{address}/data/plugin/{plugin}?run=run&tag={quote(tag, safe='')}"
    deadline, last = time.monotonic() + PATIENCE, "no answer"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)
            if len(found) >= points:
                return list(found)
            last = f"{len(found)} points"
        except urllib.error.HTTPError as error:  # the tag is not loaded yet
            last = str(error)
            error.close()
        time.sleep(0.05)
    raise AssertionError(f"{url}: {last}, expected {points}")


def test_scalars(address: str, reports: list[Report]) -> None:
    """Every scalar of the last report has a point a check, with step and value."""
    for tag in reports[-1].scalars():
        expected = {r.step: r.scalars()[tag] for r in reports if tag in r.scalars()}
        shown = get(address, "scalars/scalars", tag, len(expected))
        assert {step: value for _, step, value in shown} == pytest.approx(expected, rel=1e-6)


def test_histograms(address: str, reports: list[Report]) -> None:
    """Each histogram spans its own bins and counts each unit once."""
    for tag in histograms(reports[-1]):
        expected = [r.step for r in reports if r.check < 10 or r.check % 10 == 0 or r.alerts]
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
        first = get(fast, "histograms/histograms", tag, 11)
        second = get(slow, "histograms/histograms", tag, 11)
        assert [(step, bins) for _, step, bins in first] == [
            (step, bins) for _, step, bins in second
        ]


def test_texts(address: str, reports: list[Report]) -> None:
    """The newest table of alerts has all of them, and the thresholds are there."""
    shown = get(address, "text/text", "collapse/alerts/text_summary", 3)[-1]["text"]
    for alert in (alert for report in reports for alert in report.alerts):
        assert f"<td>{alert.step}</td>" in shown
    assert "kl_threshold" in get(address, "text/text", "collapse/about/text_summary", 1)[0]["text"]
