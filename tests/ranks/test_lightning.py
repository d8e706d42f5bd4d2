"""The callback under DDP: two processes, gloo on the CPU."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from collapse_logging import Level, PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter

from ..lightning.parts import Core, model, patterns, trainer
from .processes import on_ranks

RANKS = 2


def ddp(rank: int, folder: Path, *callbacks: Any, **options: Any) -> Any:
    """A Trainer that finds the processes that are there."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(RANKS),
        "LOCAL_WORLD_SIZE": str(RANKS),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }
    warnings.simplefilter("ignore")
    options = {"strategy": "ddp", "devices": RANKS, **options}
    return trainer(pl, folder, *callbacks, **options)


def data() -> DataLoader[Any]:
    """Lightning gives each rank its share."""
    return DataLoader(TensorDataset(patterns()), 32)


def detector(**options: Any) -> PosteriorCollapseDetector:
    """One that checks at each tenth step."""
    quiet = {"latents": {"z": "vae.encoder"}, "check_frequency": 10, "verbose": False}
    return PosteriorCollapseDetector(**{**quiet, **options})


class Unused(Core):
    """Has a parameter that no loss reaches."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unused = torch.nn.Linear(2, 2)


class Reports(pl.Callback):
    """What the detector reported, on every rank: writers are called on rank zero only."""

    def __init__(self, callback: PosteriorCollapseDetector) -> None:
        self.callback = callback
        self.reports: list[Any] = []

    def on_train_batch_end(self, *given: Any) -> None:
        """Keep a new one."""
        report = self.callback.report
        if report is not None and report not in self.reports[-1:]:
            self.reports.append(report)


def collapsing(rank: int, folder: Path, core: type[Core], strategy: str) -> dict[str, Any]:
    """Beta jumps at step 60; the run stops at the third red check."""
    memory = MemoryWriter()
    callback = detector(
        check_frequency=5, writers=[memory], log_dir=str(folder / "logs"),
        stop_on_collapse=True, early_stop_patience=3,
    )  # fmt: skip
    seen = Reports(callback)
    fit = ddp(rank, folder, callback, seen, max_steps=300, strategy=strategy)
    one = model(pl, core, collapse_at=60, learning_rate=1e-2)
    keys = set(one.state_dict())
    fit.fit(one, data())
    return {
        "end": fit.global_step,
        "same keys": set(one.state_dict()) == keys,
        "levels": [(report.step, report.level) for report in seen.reports],
        "samples": {report.latents["z"].measures["samples"] for report in seen.reports},
        "written": len(memory.reports),
        "alerts": memory.alerts,
        "together": callback.monitor._delivery.ranks.together,
    }


@pytest.mark.parametrize(
    ("core", "strategy"), [(Core, "ddp"), (Unused, "ddp_find_unused_parameters_true")]
)
def test_a_collapse_stops_all_ranks(tmp_path: Path, core: type[Core], strategy: str) -> None:
    """At the same step, with one model from before it and one from the alarm, one ledger, and
    nothing of ours in the model's state.
    """
    said = [r for r, _ in on_ranks(collapsing, RANKS, tmp_path, tmp_path, core, strategy)]
    first, second = said
    assert not isinstance(first, str), first
    assert first["together"]
    assert first["same keys"]
    assert first["samples"] == {5 * 2 * 32}
    for key in ("end", "levels"):
        assert first[key] == second[key]
    red = [step for step, level in first["levels"] if level is Level.RED]
    assert len(red) == 3
    assert first["end"] == red[-1] + 1
    assert (first["written"], second["written"]) == (len(first["levels"]), 0)
    logs = tmp_path / "logs"
    (before,) = logs.glob("model_before_collapse_step_*.ckpt")
    assert int(before.stem.rsplit("_", 1)[1]) < 60
    assert [p.name for p in logs.glob("model_at*")] == [f"model_at_alarm_step_{red[0]}.ckpt"]
    assert len(list(logs.iterdir())) == 5  # and ledger, detection log and statistics
    assert torch.load(before, weights_only=True)["state_dict"].keys() == set(
        model(pl, core).state_dict()
    )


class TwoOptimizers(Core):
    """Encoder and decoder have an optimiser each, stepped in every second batch."""

    automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Gradients of two batches add up."""
        loss, _ = self.vae(batch[0])
        self.manual_backward(loss)
        if batch_idx % 2:
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        """One for each half."""
        halves = (self.vae.encoder, self.vae.decoder)
        return [torch.optim.Adam(half.parameters(), 1e-3) for half in halves]


def accumulating(rank: int, folder: Path, core: type[Core], options: dict[str, Any]) -> Any:
    """Several batches are one step."""
    callback = detector()
    seen = Reports(callback)
    fit = ddp(rank, folder, callback, seen, max_epochs=10, max_steps=-1, **options)
    fit.fit(model(pl, core), data())
    return [(r.step, r.steps, r.latents["z"].measures["samples"]) for r in seen.reports]


@pytest.mark.parametrize(
    ("core", "options", "steps"),
    [
        (Core, {"accumulate_grad_batches": 2}, [9, 19, 29, 39]),
        (TwoOptimizers, {}, [19, 39, 59, 79]),
    ],
)
def test_checks_are_at_optimiser_steps(
    tmp_path: Path, core: type[Core], options: dict[str, Any], steps: list[int]
) -> None:
    """Micro-batches add samples and no step; two optimisers do not double the axis, which is
    Lightning's own: where the model steps by hand, it counts batches.
    """
    said = [r for r, _ in on_ranks(accumulating, RANKS, tmp_path, tmp_path, core, options)]
    assert said == [[(step, 10, 10 * 2 * 32.0 * RANKS) for step in steps]] * RANKS


def full_disk(rank: int, folder: Path) -> Any:
    """Saving fails on rank zero, which alone writes."""
    fit = ddp(rank, folder, callback := detector(log_dir=str(folder / "logs")), max_steps=60)

    def fails(*given: Any, **named: Any) -> None:
        raise OSError("disk full")

    fit.strategy.checkpoint_io.save_checkpoint = fails
    fit.fit(model(pl), data())
    return fit.global_step, callback.report.check, callback.report.healthy


def test_a_save_that_fails_on_rank_zero(tmp_path: Path) -> None:
    """It is told there, the others do not wait for it, and the training goes on."""
    (first, told), (second, nothing) = on_ranks(full_disk, RANKS, tmp_path, tmp_path)
    assert first == second == (60, 5, True)
    assert any("a response failed at step" in message for message in told)
    assert nothing == []


def resumed(rank: int, folder: Path) -> Any:
    """Stopped in the midst of a window, and resumed from rank zero's checkpoint."""
    found = []
    for resume in (None, folder / "half.ckpt"):
        callback = detector(auto_save_on_collapse=False)
        seen = Reports(callback)
        fit = ddp(rank, folder, callback, seen, max_steps=50 if resume else 25)
        fit.fit(model(pl), data(), ckpt_path=resume, weights_only=True if resume else None)
        if resume is None:
            fit.save_checkpoint(folder / "half.ckpt")
        found += [(r.check, r.step, r.latents["z"].measures["samples"]) for r in seen.reports]
    return found


def test_all_ranks_resume_from_one_file(tmp_path: Path) -> None:
    """The checks go on at the same steps; of the window that was open rank zero's share counts."""
    whole = 10 * 32.0 * RANKS
    expected = [(0, 9, whole), (1, 19, whole), (2, 29, whole - 5 * 32), (3, 39, whole)]
    for result, told in on_ranks(resumed, RANKS, tmp_path, tmp_path):
        assert result == [*expected, (4, 49, whole)], result
        assert told == []
