"""What is done about a collapse: checkpoints, the stop, the user's own callable."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from collapse_logging import Alert, Level, PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter

from .parts import loader, model, trainer

CAUSE = 60


def test_the_saved_model_is_from_before_the_collapse(pl: Any, tmp_path: Path) -> None:
    """Beta jumps at step 60: the file in place at red is older, loads, and its model is alive."""
    memory = MemoryWriter()
    callback = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=5, writers=[memory], verbose=False,
        log_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    fit = trainer(pl, tmp_path, callback, max_steps=240)
    fit.fit(model(pl, collapse_at=CAUSE, learning_rate=1e-2), loader())
    red = next(alert for alert in memory.alerts if alert.level is Level.RED)
    (before,) = (tmp_path / "logs").glob("model_before_collapse_step_*.ckpt")
    (alarm,) = (tmp_path / "logs").glob("model_at_alarm_step_*.ckpt")
    healthy_step = int(before.stem.rsplit("_", 1)[1])
    assert healthy_step < CAUSE
    assert alarm.stem.endswith(f"_{red.step}")
    assert red.last_healthy_step is not None
    assert red.last_healthy_step < red.step
    one = model(pl)
    one.load_state_dict(torch.load(before, weights_only=True)["state_dict"])
    mean, _ = one.vae.encoder(next(iter(loader()))[0])
    assert mean.var(0).sum() > 0.5
    assert not list((tmp_path / "logs").glob("*.part"))


def test_the_run_stops_after_patience(pl: Any, tmp_path: Path) -> None:
    """After three red checks in a row, and not before."""
    memory = MemoryWriter()
    callback = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False,
        stop_on_collapse=True, early_stop_patience=3, auto_save_on_collapse=False,
    )  # fmt: skip
    fit = trainer(pl, tmp_path, callback, max_steps=400)
    fit.fit(model(pl, reduction="mean"), loader())
    red = [report.step for report in memory.reports if report.level is Level.RED]
    assert len(red) == 3
    assert fit.global_step == red[-1] + 1
    assert not list(tmp_path.rglob("model_at_alarm*"))


def test_any_callable_is_a_response(pl: Any, tmp_path: Path, log: Any) -> None:
    """It gets each alert; one that fails is logged and stops nothing."""
    got: list[Alert] = []
    memory = MemoryWriter()

    def fails(alert: Alert) -> None:
        raise OSError("mail server is down")

    callback = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, verbose=False, writers=[memory],
        responses=[fails, got.append], auto_save_on_collapse=False,
    )  # fmt: skip
    fit = trainer(pl, tmp_path, callback, max_steps=60)
    fit.fit(model(pl, reduction="mean"), loader())
    assert fit.global_step == 60
    assert got == memory.alerts
    assert got[-1].level is Level.RED
    assert log.text.count("a response failed at step") == len(got)
    assert "mail server is down" in log.text


def test_two_detectors_need_two_names(pl: Any, tmp_path: Path) -> None:
    """With names of their own both report, under tags of their own."""
    writers = [MemoryWriter(), MemoryWriter()]
    callbacks = [
        PosteriorCollapseDetector(
            latents="vae.encoder", name=name, check_frequency=every, writers=[writer],
            verbose=False,
        )
        for name, every, writer in (("main", 20, writers[0]), ("early", 10, writers[1]))
    ]  # fmt: skip
    fit = trainer(pl, tmp_path, *callbacks, max_steps=40)
    fit.fit(model(pl), loader())
    assert [len(writer.reports) for writer in writers] == [2, 4]
    assert {"main/level", "early/level"} <= set(fit.callback_metrics)
    with pytest.raises(RuntimeError, match="more than one stateful callback"):
        trainer(pl, tmp_path, callbacks[0], copy.copy(callbacks[0]))


def test_the_callback_pickles(pl: Any, tmp_path: Path) -> None:
    """Before and after a fit, as ddp_spawn and tuners need it."""
    callback = PosteriorCollapseDetector(latents="vae.encoder", verbose=False)
    pickle.loads(pickle.dumps(callback))
    trainer(pl, tmp_path, callback, max_steps=5).fit(model(pl), loader())
    assert pickle.loads(pickle.dumps(callback)).latents == callback.latents


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"check_frequency": -1}, "check_frequency: expected an integer of at least 1, got -1"),
        ({"check_frequency": True}, "check_frequency"),
        ({"kl_threshold": float("nan")}, "kl_threshold"),
        ({"rules": "fats"}, "Did you mean 'fast'"),
        ({"latents": 3}, "latents: expected a module path"),
        ({"writers": "tensorboard"}, "writers: expected a list"),
        ({"responses": [3]}, "responses"),
        ({"name": "../up"}, "name: expected"),
    ],
)
def test_wrong_arguments_are_told_at_once(options: dict[str, Any], message: str) -> None:
    """Expected, got, and how to mend, where the detector is made."""
    with pytest.raises((TypeError, ValueError), match=message.replace(".", r"\.")):
        PosteriorCollapseDetector(**options)


def test_plot_frequency_is_accepted_and_says_so(log: Any) -> None:
    """The manual's argument does not break a script; it draws nothing."""
    PosteriorCollapseDetector(plot_frequency=200)
    assert "plot_frequency=200 is ignored" in log.text


@pytest.mark.parametrize("namespace", ["pytorch_lightning", "lightning.pytorch"])
def test_one_namespace_alone_is_enough(namespace: str, tmp_path: Path) -> None:
    """With only one imported the callback has its base and does not import the other."""
    other = {"pytorch_lightning": "lightning", "lightning.pytorch": "pytorch_lightning"}[namespace]
    code = (
        f"import {namespace} as pl, sys\n"
        "from collapse_logging import PosteriorCollapseDetector\n"
        "assert issubclass(PosteriorCollapseDetector, pl.Callback)\n"
        f"assert {other!r} not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
