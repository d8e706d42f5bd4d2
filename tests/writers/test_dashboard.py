"""The dashboard's sub-run: what is in it, that it is written once, and what a failure costs."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch.utils.tensorboard import SummaryWriter

from collapse_logging import Report
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.dashboard import layout
from collapse_logging.writers.guard import GuardedWriter
from tests.lightning.readers import events

from .conftest import drive

CONFIGURATION = "custom_scalars__config__"


def write(target: Any, reports: list[Report]) -> None:
    """Write the reports through a writer of their own."""
    writer = TensorBoardWriter(target)
    for report in reports:
        writer.write(report)
    writer.close()


def files(folder: Path) -> list[Path]:
    """Event files of the dashboard's run."""
    return sorted((folder / "collapse" / "dashboard").glob("*tfevents*"))


def shown(folder: Path) -> Layout:
    """The newest layout of a run."""
    found = Layout()
    tensor = events(folder).Tensors(CONFIGURATION)[-1]
    found.ParseFromString(tensor.tensor_proto.string_val[0])
    return found


@pytest.mark.parametrize("latents", [["z"], ["z", "z.top"], ["a+b", "a"]])
def test_charts_ask_for_tags_that_exist_and_no_others(latents: list[str]) -> None:
    """Each expression matches one tag of one latent, whatever signs its name has."""
    measures = ("level", "information", "kl", "active_units", "informative_units")
    tags = [f"collapse/{name}/{measure}" for name in latents for measure in measures]
    asked = [
        expression
        for charts in layout(latents).values()
        for kind, expressions in charts.values()
        if kind == "Multiline"
        for expression in expressions
    ]
    found = [[tag for tag in ["collapse/level", *tags] if re.match(e, tag)] for e in asked]
    assert all(len(matches) == 1 for matches in found)
    assert {tag for (tag,) in found} >= set(tags)


def test_several_latents_have_a_category_each() -> None:
    """The worst level first, then a category a latent; a detector's other name is in the title."""
    assert list(layout(["a", "b"])) == [
        "Posterior collapse",
        "Posterior collapse: a",
        "Posterior collapse: b",
    ]
    assert list(layout(["a"], "prior")) == ["Posterior collapse (prior)"]


def test_it_is_written_into_a_run_of_its_own(tmp_path: Path, reports: list[Report]) -> None:
    """The user's own layout stays in their run, be it written before ours or after."""
    for when in ("before", "after"):
        folder = tmp_path / when
        with SummaryWriter(str(folder)) as theirs:
            if when == "before":
                theirs.add_custom_scalars({"Mine": {"loss": ["Multiline", ["loss"]]}})
            write(theirs, reports[:2])
            if when == "after":
                theirs.add_custom_scalars({"Mine": {"loss": ["Multiline", ["loss"]]}})
        assert [category.title for category in shown(folder).category] == ["Mine"]
        assert len(events(folder).Tensors(CONFIGURATION)) == 1
        ours = shown(folder / "collapse" / "dashboard")
        assert [category.title for category in ours.category] == ["Posterior collapse"]
        assert len(ours.category[0].chart) == 6


def test_a_resumed_run_does_not_write_it_again(tmp_path: Path, reports: list[Report]) -> None:
    """The same layout is left as it is; the file is closed when the first report is written."""
    write(tmp_path, reports[:1])
    (first,) = files(tmp_path)
    before = first.read_bytes()
    write(tmp_path, reports[1:])
    assert files(tmp_path) == [first]
    assert first.read_bytes() == before


def test_a_latent_that_comes_later_gets_its_charts(tmp_path: Path, reports: list[Report]) -> None:
    """A second file beside the first, whose layout is the one that TensorBoard shows."""
    both = dict.fromkeys(("z", "late"), reports[1].latents["z"])
    later = [dataclasses.replace(report, latents=both) for report in reports[1:4]]
    writer = TensorBoardWriter(tmp_path)
    writer.write(reports[0])
    time.sleep(1.1)  # files are read in the order of their names, which begin with the second
    for report in later:
        writer.write(report)
    writer.close()
    assert len(files(tmp_path)) == 2
    titles = [category.title for category in shown(tmp_path / "collapse" / "dashboard").category]
    assert titles == ["Posterior collapse", "Posterior collapse: z", "Posterior collapse: late"]


def test_a_remote_folder_is_as_good() -> None:
    """A folder that is none on this disk, as ``s3://`` is, gets both runs."""
    drive([TensorBoardWriter("memory://bucket/run")], checks=2)
    store = fsspec.filesystem("memory")
    found = [Path(path) for path in store.find("/bucket")]
    assert [path.parent.as_posix() for path in found] == [
        "/bucket/run/collapse/dashboard",
        "/bucket/run",
    ]
    assert all(store.size(path.as_posix()) > 100 for path in found)


def test_a_dashboard_that_cannot_be_written_costs_a_check_and_no_more(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once; the report at hand is written before, and later ones as ever."""
    (tmp_path / "collapse").write_text("in the way")
    guard = GuardedWriter(TensorBoardWriter(tmp_path))
    with caplog.at_level(logging.INFO, "collapse_logging"):
        for report in reports:
            guard.write(report)
        guard.close()
    told = [record.levelno for record in caplog.records]
    assert told == [logging.ERROR, logging.WARNING]  # failed; works again
    steps = [event.step for event in events(tmp_path).Scalars("collapse/level")]
    assert steps == [report.step for report in reports if report is not reports[1]]


def test_without_tensorboard_there_is_none(
    tmp_path: Path, reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event file can be written by tensorboardX alone; but nobody shows a dashboard then."""
    with SummaryWriter(str(tmp_path)) as theirs:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        write(theirs, reports[:2])
    assert files(tmp_path) == []
    assert len(events(tmp_path).Scalars("collapse/level")) == 2


def test_a_latent_has_the_charts_of_what_it_measures():
    """A codebook has no variances, a Gaussian no perplexity, a family of one's own neither."""
    charts = layout(["a"], measures={"a": {"information", "perplexity", "usage"}})
    titles = [title for category in charts.values() for title in category]
    assert any("perplexity" in title for title in titles)
    assert not any("variance" in title for title in titles)
    (own,) = layout(["a"], measures={"a": {"information"}}).values()
    (gaussian,) = layout(["a"]).values()
    assert len(own) == 4
    assert not any("perplexity" in title for title in gaussian)
