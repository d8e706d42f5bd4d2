"""TensorBoard: event files read back."""

from __future__ import annotations

import collections
import dataclasses
import io
import math
import statistics
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

from collapse_logging import Level, Report
from collapse_logging.report import LatentReport
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.base import histograms, log10_histogram
from collapse_logging.writers.information_map import palette
from tests.lightning.readers import events, text

from .conftest import drive, killed_after_red


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log folder that a monitor wrote."""
    folder = tmp_path_factory.mktemp("board") / "run"
    drive([TensorBoardWriter(folder)])
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> EventAccumulator:
    """Everything in the folder's event files."""
    return events(folder)


def assert_scalars(found: EventAccumulator, reports: list[Report]) -> None:
    """All scalars of all reports at their steps, and no others but growth's band."""
    for report in reports:
        here = {
            tag: event.value
            for tag in found.Tags()["scalars"]
            if not tag.startswith("collapse_limits/")
            for event in found.Scalars(tag)
            if event.step == report.step
        }
        assert here == {tag: pytest.approx(v, rel=1e-6) for tag, v in report.scalars().items()}


def test_scalars_are_read_back(found: EventAccumulator, reports: list[Report]) -> None:
    """Every scalar of every report is in the event file at its step, and nothing else."""
    assert_scalars(found, reports)


def test_the_band_of_growth_has_the_steps_of_growth(
    found: EventAccumulator, reports: list[Report]
) -> None:
    """TensorBoard draws a margin only where value, lower and upper have the same steps."""
    steps = [event.step for event in found.Scalars("collapse/z/growth")]
    assert 0 < len(steps) < len(reports)
    for name, limit in (("lower", -2.0), ("upper", 2.0)):
        band = found.Scalars(f"collapse_limits/z/growth_{name}")
        assert [event.step for event in band] == steps
        assert {event.value for event in band} == {limit}


def newest_picture(found: EventAccumulator) -> Any:
    """Red, green and blue of the information map, ``[height, width, 3]``."""
    shown = found.Images("collapse/z/information_map")[-1]
    image = Image.open(io.BytesIO(shown.encoded_image_string)).convert("RGB")
    assert image.size == (shown.width, shown.height)
    return np.asarray(image)


def test_the_map_shows_all_checks(found: EventAccumulator, reports: list[Report]) -> None:
    """The newest picture has a column a check, and the level's colour below each."""
    picture = newest_picture(found)
    columns = picture[-1, :: picture.shape[1] // len(reports)]
    colours = palette()[-4:]
    expected = [colours[report.latents["z"].level] for report in reports]
    assert np.array_equal(columns, expected)
    assert found.Images("collapse/z/information_map")[-1].step == reports[-1].step


def test_without_pillow_there_is_no_map(
    tmp_path: Path, reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard before 2.20 does not bring it; everything else is there."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    writer = TensorBoardWriter(tmp_path)
    writer.write(reports[0])
    writer.close()
    found = events(tmp_path).Tags()
    assert found["images"] == []
    assert "collapse/z/log10_mean_variance" in found["histograms"]


def test_histograms_are_read_back(found: EventAccumulator, reports: list[Report]) -> None:
    """The histogram of a check counts each unit once, in the bin of its log10 variance."""
    for tag, (counts, edges) in histograms(reports[-1]).items():
        shown = found.Histograms(tag)[-1].histogram_value
        assert shown.num == 6
        assert (shown.min, shown.max) == (edges[0], edges[-1])
        assert list(shown.bucket_limit) == list(edges[1:])
        assert list(shown.bucket) == list(counts)


def test_histograms_become_rare(tmp_path: Path, reports: list[Report]) -> None:
    """The first ten checks, then each ``histogram_every``-th, those with alerts, and the last."""
    long = [Report(n, n, Level.OK, reports[0].latents) for n in range(40)]
    writer = TensorBoardWriter(tmp_path, histogram_every=10)
    for report in long:
        writer.write(report)
    writer.close()
    found = events(tmp_path).Histograms("collapse/z/log10_mean_variance")
    assert [h.step for h in found] == [*range(10), 10, 20, 30, 39]


def test_the_text_loses_no_alert(found: EventAccumulator, reports: list[Report]) -> None:
    """The newest text has a row for every alert of the run, newest first, and what to do."""
    alerts = [alert for report in reports for alert in report.alerts]
    assert [alert.level for alert in alerts] == [Level.YELLOW, Level.ORANGE, Level.RED]
    shown = text(found, "collapse/alerts")
    rows = [line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("| ")]
    assert rows == ["step", *(str(alert.step) for alert in reversed(alerts))]
    assert "what to do: stop and restart" in shown


def test_the_thresholds_are_told_once(found: EventAccumulator, reports: list[Report]) -> None:
    """What the levels mean and the settings in force are a text at the first report's step."""
    (told,) = found.Tensors("collapse/about/text_summary")
    assert told.step == reports[0].step
    assert "| kl\\_threshold | 0.01 |" in text(found, "collapse/about")


@pytest.mark.parametrize("every", [1, 10])
def test_a_check_is_one_record(tmp_path: Path, reports: list[Report], every: int) -> None:
    """All that a check shows is one record, so a queue of ten is not filled by many latents."""
    latents = {f"z{n}": reports[0].latents["z"] for n in range(8)}
    report = dataclasses.replace(reports[-1], check=11, latents=latents, alerts=())
    writer = TensorBoardWriter(tmp_path, histogram_every=every)
    writer.write(dataclasses.replace(report, check=0))  # with the dashboard, once
    with patch.object(FileWriter, "add_summary", autospec=True) as add_summary:
        writer.write(report)
    (summary,) = [call.args[1] for call in add_summary.call_args_list]
    writer.close()
    kinds = collections.Counter(value.WhichOneof("value") for value in summary.value)
    drawn = {"histo": 16, "image": 8} if every == 1 else {}
    assert kinds == {"simple_value": len(report.scalars()), **drawn}


def test_a_check_costs_the_training_little(tmp_path: Path, reports: list[Report]) -> None:
    """Where nothing is drawn, a check is taken in well below a millisecond (printed; loose cap)."""
    writer = TensorBoardWriter(tmp_path)
    writer.open({"growth_limit": 2.0})
    writer.write(reports[0])
    times = []
    for n in range(200):
        report = dataclasses.replace(reports[-1], check=10 * n + 11, step=n + 1000, alerts=())
        start = time.perf_counter()
        writer.write(report)
        times.append(1e3 * (time.perf_counter() - start))
    writer.close()
    print(f"a check: {statistics.median(times):.3f} ms at the median of {len(times)}")
    assert min(times) < 1.0


class OtherWriter:
    """Has only the public methods of a SummaryWriter, as tensorboardX has in effect."""

    def __init__(self, folder: Path, attribute: str | None = None) -> None:
        self._inner = SummaryWriter(str(folder))
        for name in ("add_scalar", "add_text", "add_histogram_raw", "add_image", "flush", "close"):
            setattr(self, name, getattr(self._inner, name))
        if attribute:
            setattr(self, attribute, str(folder))


class ForeignWriter(OtherWriter):
    """Has a ``_get_file_writer`` whose ``add_summary`` takes another kind of Summary."""

    def _get_file_writer(self) -> Any:
        raise AssertionError("private to tensorboardX, whose Summary is of another class")


@pytest.mark.parametrize("kind", [OtherWriter, ForeignWriter])
def test_a_writer_like_tensorboardx_gets_it_through_its_public_methods(
    tmp_path: Path, reports: list[Report], folder: Path, kind: type[OtherWriter]
) -> None:
    """Without torch's ``_get_file_writer`` the same scalars, histograms, pictures and text."""
    other = kind(tmp_path)
    writer = TensorBoardWriter(other, histogram_every=1)
    for report in reports:
        writer.write(report)
    writer.close()
    found = events(tmp_path)
    assert_scalars(found, reports)
    assert found.Histograms("collapse/z/log10_mean_variance")[-1].step == reports[-1].step
    assert "RED" in text(found, "collapse/alerts")
    assert np.array_equal(newest_picture(found), newest_picture(events(folder)))
    other.close()


@pytest.mark.parametrize(("attribute", "known"), [("log_dir", 1), ("logdir", 1), (None, 0)])
def test_the_log_folder_is_found(tmp_path: Path, attribute: str | None, known: int) -> None:
    """Torch calls it ``log_dir``, tensorboardX ``logdir``; without either there is no ledger."""
    other = OtherWriter(tmp_path, attribute)
    assert TensorBoardWriter(other).log_dir == (str(tmp_path) if known else None)
    other.close()


def test_a_writer_that_is_handed_in_stays_open(tmp_path: Path, reports: list[Report]) -> None:
    """Closing ours flushes the user's SummaryWriter and leaves it to them."""
    theirs = SummaryWriter(str(tmp_path))
    opened = theirs.file_writer
    writer = TensorBoardWriter(theirs)
    writer.write(reports[0])
    writer.close()
    writer.close()
    assert "collapse/level" in events(tmp_path).Tags()["scalars"]
    assert theirs.file_writer is opened
    theirs.add_scalar("mine", 1.0, 1)
    theirs.close()
    assert {"mine", "collapse/level"} <= set(events(tmp_path).Tags()["scalars"])


def test_our_own_is_closed(tmp_path: Path, reports: list[Report]) -> None:
    """A folder of our own has no open handle behind it, and close may come twice."""
    writer = TensorBoardWriter(tmp_path)
    writer.write(reports[0])
    writer.close()
    assert writer._writer.file_writer is None
    writer.close()


def test_what_is_neither_folder_nor_writer_is_refused() -> None:
    """The error says what was got and what to write."""
    with pytest.raises(TypeError, match=r"expected a folder or a SummaryWriter, got int; write"):
        TensorBoardWriter(3)


def test_nothing_that_is_not_finite_is_written(tmp_path: Path) -> None:
    """NaN, infinity and what 32 bits would make infinite are left out; the rest is there."""
    bad = np.array([np.nan, np.inf, -np.inf])
    latent = LatentReport(
        Level.OK,
        {"kl": math.nan, "information": math.inf, "growth": -math.inf, "large": 1e39, "fine": 2.0},
        {"posterior_variance": bad, "mean_variance": np.append(bad, [1.0, 0.0])},
    )
    writer = TensorBoardWriter(tmp_path)
    writer.write(Report(1, 0, Level.OK, {"z": latent}, measures={"loss": math.nan}))
    writer.close()
    found = events(tmp_path)
    fine = {"collapse/level", "collapse/z/level", "collapse/z/fine"}
    assert set(found.Tags()["scalars"]) == fine
    assert found.Tags()["histograms"] == ["collapse/z/log10_mean_variance"]
    (shown,) = found.Histograms("collapse/z/log10_mean_variance")
    assert shown.histogram_value.num == 2


def test_an_alert_survives_a_kill(tmp_path: Path) -> None:
    """After SIGKILL right behind a red alert its text, scalars and histogram are on the disk."""
    killed_after_red(f"TensorBoardWriter({str(tmp_path)!r})")
    found = events(tmp_path)
    assert found.Scalars("collapse/level")[-1].value == Level.RED
    assert "→&nbsp;RED" in text(found, "collapse/alerts")
    newest = found.Histograms("collapse/z/log10_mean_variance")[-1].step
    assert newest == found.Scalars("collapse/level")[-1].step


def test_bins_are_fixed_and_trimmed() -> None:
    """Values from 0 to infinity fall into quarter decades; empty ends are cut off."""
    counts, edges = log10_histogram(np.array([0.0, 1e-3, 1.0, 0.99, np.nan, 1e9]))
    assert counts.sum() == 5
    assert counts[0] > 0
    assert counts[-1] > 0
    assert np.allclose(np.diff(edges), 0.25)
    assert (edges[0], edges[-1]) == (-8.125, 2.125)
