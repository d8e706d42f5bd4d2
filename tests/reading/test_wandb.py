"""Offline W&B files, written by wandb and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collapse_logging.reading import judge
from collapse_logging.reading.wandb import read_wandb
from collapse_logging.writers import WandbWriter
from tests.lightning.readers import wandb_records
from tests.recorded import collapsed

wandb = pytest.importorskip("wandb")


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished offline run that two detectors wrote to, 60 steps, 12 checks each."""
    folder = tmp_path_factory.mktemp("wandb_run")
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run: Any = wandb.init(project="test", mode="offline", dir=str(folder), settings=settings)
    collapsed(folder / "a", WandbWriter(run, own_rows=True))
    collapsed(folder / "b", WandbWriter(run, own_rows=True, prefix="early"))
    run.log({"train/loss": 1.0, "text": "no number"})
    file = Path(run.settings.sync_file)
    run.finish()
    wandb_records(file)  # waits until all is written
    return file


def test_every_check_of_each_detector_is_read(run_file: Path) -> None:
    """Levels, steps, changes and settings, by the detector's name."""
    first, second = read_wandb(run_file)
    assert (first.name, second.name) == ("collapse", "early")
    for recording in (first, second):
        assert recording.report is not None
        assert recording.series is not None
        assert recording.series.steps.tolist() == list(range(5, 61, 5))
        assert [a.level.name for a in recording.alerts] == ["YELLOW", "ORANGE", "RED"]
        assert recording.report.last_healthy_step == 20
        assert recording.settings["check_frequency"] == 5
        assert judge(recording).word == "collapsed"


def test_a_file_that_is_cut_or_damaged_is_read_up_to_there(run_file: Path, tmp_path: Path) -> None:
    """Half a file gives fewer checks, a foreign one none; neither is an error."""
    data = run_file.read_bytes()
    cut = tmp_path / "run.wandb"
    cut.write_bytes(data[: len(data) // 2])
    series = [recording.series for recording in read_wandb(cut)]
    assert 0 < sum(len(found.steps) for found in series if found is not None) < 24
    middle = len(data) // 2
    cut.write_bytes(data[:middle] + b"\xff" * 100 + data[middle + 100 :])
    assert read_wandb(cut)[0].report is not None
    for content in (b"", b"foreign", b"\x00" * 70_000, b"\xff" * 70_000):
        cut.write_bytes(content)
        assert read_wandb(cut) == []
