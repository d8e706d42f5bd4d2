"""Event files, written by the TensorBoard writer and read by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from collapse_logging.reading import judge
from collapse_logging.reading.events import read_events
from collapse_logging.reading.ledger import read_ledger
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.ledger import LEDGER_NAME
from tests.recorded import collapsed, healthy

pytest.importorskip("tensorboard")
from torch.utils.tensorboard import SummaryWriter


@pytest.mark.parametrize("run", [collapsed, healthy])
def test_they_say_what_the_ledger_says(tmp_path: Path, run: object) -> None:
    """Levels, steps of the changes, measures, last healthy step and verdict are the same."""
    assert callable(run)
    run(tmp_path, TensorBoardWriter(tmp_path), latents=("a", "b/c"))
    ledger = read_ledger(tmp_path / LEDGER_NAME, series=True)
    (events,) = read_events(tmp_path)
    assert ledger.report is not None
    assert events.report is not None
    assert (events.name, events.report.step) == ("collapse", ledger.report.step)
    assert events.report.check == ledger.report.check
    assert events.report.last_healthy_step == ledger.report.last_healthy_step
    assert judge(events) == judge(ledger)
    changes = [(a.step, a.latent, a.previous, a.level) for a in ledger.alerts]
    assert sorted((a.step, a.latent, a.previous, a.level) for a in events.alerts) == sorted(changes)
    for name, latent in ledger.report.latents.items():
        assert events.report.latents[name].measures == pytest.approx(latent.measures, rel=1e-5)
    assert ledger.series is not None
    assert events.series is not None
    for tag, values in ledger.series.scalars.items():
        np.testing.assert_allclose(events.series.scalars[tag], values, rtol=1e-5)


def test_two_detectors_in_one_folder_are_two_recordings(tmp_path: Path) -> None:
    """Each by its name, with its own level; the user's own tags are no detector."""
    with SummaryWriter(str(tmp_path)) as writer:
        collapsed(tmp_path / "a", TensorBoardWriter(writer, prefix="early"))
        healthy(tmp_path / "b", TensorBoardWriter(writer, prefix="collapse"))
        writer.add_scalar("game/level", 3.0, 1)
        writer.add_scalar("game/boss/level", 3.0, 1)
        writer.add_scalar("train/loss", 3.0, 1)
    found = {recording.name: judge(recording).word for recording in read_events(tmp_path)}
    assert found == {"collapse": "healthy", "early": "collapsed"}


def test_one_file_is_enough_and_a_cut_one_is_read_up_to_the_cut(tmp_path: Path) -> None:
    """A file by itself, and half of it as a killed training leaves it."""
    collapsed(tmp_path, TensorBoardWriter(tmp_path))
    (file,) = tmp_path.glob("*tfevents*")
    (whole,) = read_events(file)
    assert whole.report is not None
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (half,) = read_events(tmp_path)
    assert half.report is not None
    assert 0 < half.report.check < whole.report.check


@pytest.mark.parametrize("where", ["header", "record"])
def test_a_damaged_file_is_read_up_to_the_damage_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """A flipped byte costs what is behind it; the file stays as it is, the next one is read too."""
    collapsed(tmp_path, TensorBoardWriter(tmp_path))
    (file,) = tmp_path.glob("*tfevents*")
    content = bytearray(file.read_bytes())
    content[0 if where == "header" else len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    found = read_events(tmp_path)
    assert [r.report.check > 0 for r in found if r.report] == ([] if where == "header" else [True])
    assert caplog.text.count("an event file is damaged and was read up to the damage") == 1
    assert file.name in caplog.text
    assert file.read_bytes() == content
    with SummaryWriter(str(tmp_path), filename_suffix=".later") as later:
        healthy(tmp_path / "b", TensorBoardWriter(later))
    assert read_events(tmp_path)


def test_a_whole_file_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is one that a training is still writing to."""
    collapsed(tmp_path, TensorBoardWriter(tmp_path))
    (file,) = tmp_path.glob("*tfevents*")
    for content in (file.read_bytes(), file.read_bytes()[:-5], file.read_bytes()[:-30]):
        file.write_bytes(content)
        assert read_events(tmp_path)
    assert "damaged" not in caplog.text


@pytest.mark.parametrize("content", [b"", b"nothing that TensorBoard wrote"])
def test_a_file_without_events_has_no_recording(tmp_path: Path, content: bytes) -> None:
    """An empty or a foreign file is not an error."""
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    assert read_events(tmp_path) == []


def test_a_resumed_run_replaces_what_it_repeats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second event file that begins again counts from there, and nothing is warned of."""
    collapsed(tmp_path, TensorBoardWriter(tmp_path))
    reports = healthy(tmp_path, TensorBoardWriter(tmp_path))
    (recording,) = read_events(tmp_path)
    assert recording.series is not None
    assert recording.series.steps.tolist() == [report.step for report in reports]
    assert judge(recording).word == "healthy"
    assert [record for record in caplog.records if record.name == "tensorboard"] == []
