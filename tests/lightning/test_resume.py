"""A checkpoint of the Trainer holds the detector, and a resumed run goes on as if undisturbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collapse_logging import Level, PosteriorCollapseDetector, Report
from collapse_logging.writers import MemoryWriter

from .parts import Core, loader, model, patterns, trainer

# Lightning's remark on resuming in the midst of an epoch: here the batch does not come from it
pytestmark = pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable.*")


class Repeatable(Core):
    """Batch and noise depend on the batch's number alone, so a resumed run sees the same."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss of the batch of this number; the last third of the run collapses."""
        number = self.trainer.fit_loop.epoch_loop.total_batch_idx
        rows = torch.arange(64) + 64 * number
        if self.collapse_at is not None and self.global_step >= self.collapse_at:
            self.vae.beta = 1000.0
        with torch.random.fork_rng():
            torch.manual_seed(number)
            loss, reconstruction = self.vae(patterns()[rows % 512])
        self.log("train_recon", reconstruction)
        return loss


def fit(
    pl: Any, folder: Path, steps: int, *callbacks: Any, resume: Path | None = None, **options: Any
) -> tuple[list[Report], Any]:
    """Train from the start or from a checkpoint; all reports, and the detector."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False,
        auto_save_on_collapse=False,
    )  # fmt: skip
    run = trainer(pl, folder, detector, *callbacks, max_steps=steps, **options)
    one = model(pl, Repeatable, collapse_at=45)
    run.fit(one, loader(1024), ckpt_path=resume, weights_only=True if resume else None)
    return memory.reports, detector


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested values by their path."""
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {p: v for key, inner in pairs for p, v in flat(inner, f"{path}/{key}").items()}
    return {path: value}


def assert_same(resumed: list[Report], whole: list[Report], step: int) -> None:
    """Equal, but for the rounding of sums whose shift was taken anew at the resume."""
    expected = flat([report.to_dict() for report in whole if report.step >= step])
    near = {
        path: pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
        for path, value in expected.items()
    }
    assert near
    assert flat([report.to_dict() for report in resumed]) == near


def saving(pl: Any, folder: Path, step: int) -> Any:
    """Saves ``half.ckpt`` after so many optimiser steps, in the midst of training."""

    def save(self: Any, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == step:
            trainer.save_checkpoint(folder / "half.ckpt")

    return type("Saving", (pl.Callback,), {"on_train_batch_end": save})()


@pytest.mark.parametrize("step", [25, 50, 63])
def test_a_resumed_run_is_the_undisturbed_run(pl: Any, tmp_path: Path, step: int) -> None:
    """Saved before, at and after a change of level: every later report is the same."""
    whole, _ = fit(pl, tmp_path, 90)
    assert {report.level for report in whole} >= {Level.OK, Level.RED}
    fit(pl, tmp_path, step, saving(pl, tmp_path, step))
    resumed, _ = fit(pl, tmp_path, 90, resume=tmp_path / "half.ckpt")
    assert_same(resumed, whole, step)


def test_a_resumed_run_takes_no_half_step(pl: Any, tmp_path: Path) -> None:
    """Micro-batches after a resume are one step only when the optimiser has stepped."""
    options = {"accumulate_grad_batches": 4}
    whole, _ = fit(pl, tmp_path, 40, **options)
    fit(pl, tmp_path, 15, saving(pl, tmp_path, 15), **options)
    resumed, _ = fit(pl, tmp_path, 40, resume=tmp_path / "half.ckpt", **options)
    assert [r.steps for r in resumed] == [10, 10, 10]
    assert_same(resumed, whole, 15)


def test_the_state_is_safe_to_load(pl: Any, tmp_path: Path) -> None:
    """The checkpoint loads with ``weights_only=True``; level, counters and window are in it."""
    fit(pl, tmp_path, 74, saving(pl, tmp_path, 74))
    saved = torch.load(tmp_path / "half.ckpt", weights_only=True)["callbacks"]
    state = saved["PosteriorCollapseDetector[collapse]"]
    assert state["window"]["steps"] == 4
    assert state["judge"]["checks"] == 7
    assert state["judge"]["last_healthy_step"] == 49
    assert state["judge"]["standings"]["z"]["level"] >= Level.YELLOW


def test_a_resumed_run_saves_its_own_state(pl: Any, tmp_path: Path) -> None:
    """A checkpoint of a resumed run holds what has happened since, not what was loaded."""
    fit(pl, tmp_path, 25, saving(pl, tmp_path, 25))
    (tmp_path / "half.ckpt").rename(tmp_path / "first.ckpt")
    fit(pl, tmp_path, 40, saving(pl, tmp_path, 38), resume=tmp_path / "first.ckpt")
    saved = torch.load(tmp_path / "half.ckpt", weights_only=True)["callbacks"]
    state = saved["PosteriorCollapseDetector[collapse]"]
    assert (state["judge"]["checks"], state["window"]["steps"]) == (3, 8)


def test_a_state_of_another_version_is_left_aside(pl: Any, tmp_path: Path, log: Any) -> None:
    """Said once in words; the run starts afresh."""
    fit(pl, tmp_path, 20, saving(pl, tmp_path, 20))
    saved = torch.load(tmp_path / "half.ckpt", weights_only=True)
    saved["callbacks"]["PosteriorCollapseDetector[collapse]"]["version"] = 99
    torch.save(saved, tmp_path / "other.ckpt")
    resumed, _ = fit(pl, tmp_path, 40, resume=tmp_path / "other.ckpt")
    assert resumed[0].check == 0
    assert "another version" in log.text


def test_a_second_fit_of_the_trainer_goes_on(pl: Any, tmp_path: Path) -> None:
    """``fit`` twice: check numbers and level continue, and each step is counted once."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False
    )
    run = trainer(pl, tmp_path, detector, max_steps=-1, max_epochs=4)
    one = model(pl, reduction="mean")
    run.fit(one, loader(640))
    assert detector.report.level is Level.RED
    run.fit_loop.max_epochs = 6
    run.fit(one, loader(640))
    assert [report.check for report in memory.reports] == list(range(6))
    assert [report.step for report in memory.reports] == [9, 19, 29, 39, 49, 59]
    assert [alert.level for alert in memory.alerts][-1] is Level.RED
    samples = [report.latents["z"].measures["samples"] for report in memory.reports]
    assert samples == [640] * 6


def test_another_trainer_starts_afresh(pl: Any, tmp_path: Path) -> None:
    """A detector that saw a collapse does not accuse the next run of it."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False
    )
    trainer(pl, tmp_path, detector, max_steps=50).fit(model(pl, reduction="mean"), loader())
    assert detector.report.level is Level.RED
    trainer(pl, tmp_path, detector, max_steps=20).fit(model(pl), loader())
    assert [report.check for report in memory.reports][-2:] == [0, 1]
    assert detector.report.level is Level.OK
