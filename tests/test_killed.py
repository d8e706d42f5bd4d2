"""A run that is killed again and again, and resumed, leaves what an undisturbed one leaves."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collapse_logging import CollapseMonitor, Level
from collapse_logging.reading.events import load
from collapse_logging.reading.ledger import read_ledger
from collapse_logging.responses import KeepLastHealthy, StopWhenCollapsed
from collapse_logging.writers import TensorBoardWriter

from .parts import pulled_step
from .ranks.processes import context

STEPS, DIES_AT, SAVED_EVERY = 70, 24, 7


def session(folder: Path, killed_at: int | None, in_save: bool) -> None:
    """Train from the newest checkpoint; at a step the machine goes down."""
    torch.set_num_threads(1)
    stopped: list[str] = []
    models = KeepLastHealthy(lambda path: path.write_text("model"), folder / "models", every=3)
    monitor = CollapseMonitor(
        [TensorBoardWriter(folder)],
        [models, StopWhenCollapsed(stopped.append, 4)],
        check_frequency=4,
        verbose=False,
        strict=True,
    )
    checkpoint, start = folder / "run.ckpt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        start = saved["step"]
        monitor.load_state_dict(saved["monitor"])
    for step in range(start, STEPS):
        alive = step < DIES_AT
        pulled_step(monitor, step, 1.0 if alive else 0.01, -2.0 if alive else 0.0)
        if step == killed_at and not in_save:
            os.kill(os.getpid(), signal.SIGKILL)
        if stopped:
            break
        if (step + 1) % SAVED_EVERY == 0:
            part = folder / "run.part"
            torch.save({"step": step + 1, "monitor": monitor.state_dict()}, part)
            if step >= (math.inf if killed_at is None else killed_at):
                os.kill(os.getpid(), signal.SIGKILL)
            part.replace(checkpoint)
    monitor.close()
    (folder / "stopped").write_text("\n".join(stopped))


def run(folder: Path, kills: list[int], in_save: bool = False) -> Path:
    """Sessions until one comes to its end."""
    folder.mkdir()
    for killed_at in [*kills, None]:
        process = context.Process(target=session, args=(folder, killed_at, in_save))
        process.start()
        process.join(60)
        assert process.exitcode == (0 if killed_at is None else -signal.SIGKILL)
    return folder


def left(folder: Path) -> dict[str, Any]:
    """All that a run leaves for people to read."""
    (ledger,) = folder.rglob("*.jsonl")
    recording = read_ledger(ledger, series=True)
    events = load(folder)
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    shown = {tag: [(e.step, e.value) for e in es] for tag, es in scalars.items()}
    return {
        "alerts": recording.alerts,
        "steps": recording.series.steps.tolist(),
        "ledger": {k: v for k, v in recording.series.scalars.items() if "overhead" not in k},
        "events": {tag: values for tag, values in shown.items() if "overhead" not in tag},
        "models": sorted(path.name for path in (folder / "models").iterdir()),
        "stopped": (folder / "stopped").read_text(),
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that nobody killed: it collapses and is stopped."""
    whole = left(run(tmp_path_factory.mktemp("whole") / "run", []))
    assert [alert.level for alert in whole["alerts"]][-1] is Level.RED
    assert "were red" in whole["stopped"]
    assert len(whole["models"]) == 2
    return whole


@pytest.mark.parametrize(
    ("kills", "in_save"),
    [
        ([2, 10, 11], False),  # before any checkpoint, and between a check and the next
        ([15, 27, 31, 36], False),  # about the collapse, alerts, and checks already told
        ([33, 41, 46], False),  # while red checks are counted
        ([20, 34, 41], True),  # while a checkpoint is being written
    ],
)
def test_killed_and_resumed(
    tmp_path: Path, undisturbed: dict[str, Any], kills: list[int], in_save: bool
) -> None:
    """Reports, alerts and curves are the same, none twice and none missing; the model from before
    the collapse is there, and the run stops at the same step.
    """
    got = left(run(tmp_path / "run", kills, in_save))
    assert got["alerts"] == undisturbed["alerts"]
    assert got["steps"] == undisturbed["steps"]
    assert got["ledger"].keys() == undisturbed["ledger"].keys()
    for name, column in undisturbed["ledger"].items():
        np.testing.assert_allclose(got["ledger"][name], column, rtol=1e-4, err_msg=name)
    assert got["events"].keys() == undisturbed["events"].keys()
    for tag, points in undisturbed["events"].items():
        np.testing.assert_allclose(got["events"][tag], points, rtol=1e-4, err_msg=tag)
    assert got["models"] == undisturbed["models"]
    assert got["stopped"] == undisturbed["stopped"]
