"""Two detectors beside each other, folders, other loggers, copies of callback and model."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collapse_logging import Level, PosteriorCollapseDetector
from collapse_logging.writers.ledger import read_ledger

from .parts import Core, hooks, loader, model, part, trainer
from .readers import csv_rows, events


def detector(name: str = "collapse", **options: Any) -> PosteriorCollapseDetector:
    """A quiet one that checks every ten steps."""
    quiet = {"latents": {"z": "vae.encoder"}, "check_frequency": 10, "verbose": False}
    return PosteriorCollapseDetector(name=name, **{**quiet, **options})


def test_two_detectors_keep_apart(pl: Any, tmp_path: Path) -> None:
    """Tags, ledgers, checkpoints and saved states of their own, in one event file."""
    board = part(pl, "loggers").TensorBoardLogger(tmp_path)
    one, two = detector("one"), detector("two", check_frequency=20)
    run = trainer(pl, tmp_path, one, two, logger=board, max_steps=80)
    run.fit(model(pl, collapse_at=60), loader())
    folder = Path(board.log_dir)
    found = events(folder)
    assert len(found.Scalars("one/z/kl")) == 8
    assert len(found.Scalars("two/z/kl")) == 4
    for name, checks in (("one", 8), ("two", 4)):
        lines = list(read_ledger(folder / name / "collapse_ledger.jsonl"))
        assert sum(line["type"] == "report" for line in lines) == checks
        assert len(list((folder / name).glob("last_healthy_step_*.ckpt"))) == 1
    run.save_checkpoint(tmp_path / "both.ckpt")
    states = torch.load(tmp_path / "both.ckpt", weights_only=True)["callbacks"]
    assert {key: state["judge"]["checks"] for key, state in states.items()} == {
        "PosteriorCollapseDetector[one]": 8,
        "PosteriorCollapseDetector[two]": 4,
    }


def test_two_of_one_name_are_refused(pl: Any, tmp_path: Path) -> None:
    """Lightning says so, for they would share a state and tags."""
    with pytest.raises(RuntimeError, match="state_key"):
        trainer(pl, tmp_path, detector(), detector())


def test_without_a_logger_there_is_a_ledger(pl: Any, tmp_path: Path) -> None:
    """``logger=False``: the ledger lies in ``collapse_logs`` under the default root."""
    trainer(pl, tmp_path, detector(auto_save_on_collapse=False)).fit(model(pl), loader())
    assert (tmp_path / "collapse_logs" / "collapse_ledger.jsonl").exists()
    log, *files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert log.startswith("collapse_detection_")
    assert files == ["collapse_ledger.jsonl", "final_statistics.txt"]


def test_a_logger_of_the_users_gets_the_scalars(pl: Any, tmp_path: Path, log: Any) -> None:
    """A Logger with nothing but ``log_metrics`` is enough; what it lacks is in the ledger."""
    got: list[tuple[int, dict[str, float]]] = []

    class Mine(part(pl, "loggers").Logger):
        name, version = "mine", 0

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if "collapse/level" in metrics:
                got.append((step, metrics))

    trainer(pl, tmp_path, detector(), logger=Mine(), max_steps=20).fit(model(pl), loader())
    assert [step for step, _ in got] == [9, 19]
    assert all(type(value) is float for _, metrics in got for value in metrics.values())


def test_a_broken_logger_stops_nothing(pl: Any, tmp_path: Path, log: Any) -> None:
    """The first failure is told with its cause; the other logger and the run go on."""

    class Broken(part(pl, "loggers").Logger):
        name, version = "broken", 0

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if "collapse/level" in metrics:
                raise OSError("disk full")

    table = part(pl, "loggers").CSVLogger(tmp_path)
    run = trainer(pl, tmp_path, detector(), logger=[Broken(), table], max_steps=30)
    run.fit(model(pl), loader())
    assert run.global_step == 30
    assert log.text.count("LoggerWriter failed") == 1
    assert "OSError: disk full" in log.text
    rows = csv_rows(Path(table.log_dir) / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["collapse/level"]] == [9, 19, 29]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_the_model_counts_nothing(pl: Any, tmp_path: Path, copied: Any) -> None:
    """An average model's forward in the training step, with gradient, adds no sample."""
    forwards: list[bool] = []

    class Averaged(Core):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            twin = copied(self.vae)
            forwards.append(twin.training and hooks(self.vae) > 0)
            assert twin(batch[0])[0].requires_grad
            return super().training_step(batch, batch_idx)

    callback = detector()
    trainer(pl, tmp_path, callback, max_steps=10).fit(model(pl, Averaged), loader())
    assert forwards == [True] * 10
    assert callback.report.latents["z"].measures["samples"] == 640


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_the_callback_keeps_its_settings(pl: Any, tmp_path: Path, copied: Any) -> None:
    """A copy of a detector that has seen a collapse works, and starts its own run at OK."""
    first = detector(kl_threshold=0.02, check_frequency=5, stop_on_collapse=True)
    trainer(pl, tmp_path, first).fit(model(pl, reduction="mean"), loader())
    assert first.report.level is Level.RED
    second = copied(first)
    assert second.monitor is None
    assert second.rules == first.rules
    assert (second.check_frequency, second.stop_on_collapse) == (5, True)
    trainer(pl, tmp_path, second, max_steps=20).fit(model(pl), loader())
    assert [second.report.check, second.report.level] == [3, Level.OK]
    assert first.report.level is Level.RED


def test_a_copy_taken_in_training_is_whole(pl: Any, tmp_path: Path) -> None:
    """Tuners copy the callback while it is at work, hooks, open ledger and all."""
    callback = detector()
    copies: list[PosteriorCollapseDetector] = []

    class Copy(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == 15:
                copies.append(pickle.loads(pickle.dumps(callback)))

    trainer(pl, tmp_path, callback, Copy(), max_steps=20).fit(model(pl), loader())
    assert copies[0].monitor is None
    assert copies[0].latents == {"z": "vae.encoder"}
    assert callback.report.check == 1
