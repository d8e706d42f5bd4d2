"""How a run may end: the files are whole, the hooks are off, the user's error is the user's."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from collapse_logging import PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter
from collapse_logging.writers.ledger import read_ledger

from .parts import Core, hooks, loader, model, part, trainer
from .readers import events


class EndsAt15(Core):
    """Raises in the sixteenth step."""

    error: BaseException = RuntimeError("theirs")

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        """As ever, then the error."""
        if self.global_step == 15:
            self.end()
        return super().training_step(batch, batch_idx)

    def end(self) -> None:
        """Raise."""
        raise self.error


class Interrupted(EndsAt15):
    """Ctrl-C, as the terminal sends it."""

    def end(self) -> None:
        """Send the signal to this process."""
        os.kill(os.getpid(), signal.SIGINT)


class Terminated(EndsAt15):
    """SIGTERM, as a cluster sends it before it kills."""

    def end(self) -> None:
        """Send the signal to this process."""
        os.kill(os.getpid(), signal.SIGTERM)


class RunsOut(EndsAt15):
    """Out of memory."""

    error = MemoryError("no more")


@pytest.mark.parametrize(
    ("core", "kind"),
    [
        (EndsAt15, RuntimeError),
        (RunsOut, MemoryError),
        (Interrupted, SystemExit),
        (Terminated, SystemExit),
    ],
)
def test_what_was_seen_is_kept(
    pl: Any, tmp_path: Path, core: type[EndsAt15], kind: type[BaseException]
) -> None:
    """The open window is checked; event file and ledger have both checks; no hook is left."""
    board = part(pl, "loggers").TensorBoardLogger(tmp_path)
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False
    )
    one = model(pl, core)
    with pytest.raises(kind) as caught:
        trainer(pl, tmp_path, detector, logger=board).fit(one, loader())
    if kind is not SystemExit:  # Lightning's answer to signals
        assert caught.value is core.error
    assert hooks(one) == 0
    last = 15 if core is Terminated else 14  # after SIGTERM Lightning ends its step first
    assert [(r.step, r.steps) for r in memory.reports] == [(9, 10), (last, last - 9)]
    folder = Path(board.log_dir)
    assert [e.step for e in events(folder).Scalars("collapse/level")] == [9, last]
    lines = list(read_ledger(folder / "collapse" / "collapse_ledger.jsonl"))
    assert [line["step"] for line in lines[1:]] == [9, last]


@pytest.mark.parametrize("core", [Core, EndsAt15])
def test_no_file_is_left_open(pl: Any, tmp_path: Path, core: type[Core]) -> None:
    """After the end, good or bad, the process holds no ledger."""
    detector = PosteriorCollapseDetector(
        latents="vae.encoder", check_frequency=5, log_dir=str(tmp_path / "logs"), verbose=False
    )
    if core is Core:
        trainer(pl, tmp_path, detector, max_steps=20).fit(model(pl), loader())
    else:
        with pytest.raises(RuntimeError, match="theirs"):
            trainer(pl, tmp_path, detector).fit(model(pl, core), loader())
    ledger = tmp_path / "logs" / "collapse_ledger.jsonl"
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert ledger.exists()
    assert str(ledger) not in held


def test_the_verdict_is_the_last_word(pl: Any, tmp_path: Path, log: Any) -> None:
    """With verbose the run ends with one line: level, latents, last healthy step."""
    detector = PosteriorCollapseDetector(latents={"z": "vae.encoder"}, check_frequency=10)
    trainer(pl, tmp_path, detector).fit(model(pl, reduction="mean"), loader())
    ours = [r for r in log.records if r.name == "collapse_logging"]
    assert ours[-1].getMessage() == "🔴 verdict at step 59: RED (z RED); last healthy: never"
    assert any(r.levelno == logging.ERROR and "posterior collapse" in r.getMessage() for r in ours)


def test_a_dry_run_says_nothing(pl: Any, tmp_path: Path, log: Any) -> None:
    """fast_dev_run: no alert, no verdict, no response, no file, although the steps are seen."""
    got: list[Any] = []
    detector = PosteriorCollapseDetector(
        latents="vae.encoder", check_frequency=1, rules="manual", responses=[got.append],
        log_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    trainer(pl, tmp_path, detector, fast_dev_run=8).fit(model(pl, reduction="mean"), loader())
    assert detector.report.check == 7
    assert not got
    told = [r.getMessage() for r in log.records if r.name == "collapse_logging"]
    assert all("for comparison only" in message for message in told)  # of rules="manual"
    assert not list(tmp_path.iterdir())


def test_a_run_shorter_than_a_window_is_checked(pl: Any, tmp_path: Path) -> None:
    """Seven steps with a check every fifty: one report, of seven steps."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(latents="vae.encoder", writers=[memory], verbose=False)
    trainer(pl, tmp_path, detector, max_steps=7).fit(model(pl), loader())
    assert [(report.step, report.steps) for report in memory.reports] == [(6, 7)]


def test_the_frequency_may_change_in_training(pl: Any, tmp_path: Path) -> None:
    """``detector.check_frequency = 5`` holds from the next window on; nonsense is refused."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents="vae.encoder", check_frequency=10, writers=[memory], verbose=False
    )

    class Faster(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == 20:
                detector.check_frequency = 5

    trainer(pl, tmp_path, detector, Faster(), max_steps=30).fit(model(pl), loader())
    assert [report.step for report in memory.reports] == [9, 19, 24, 29]
    with pytest.raises(ValueError, match="check_frequency: expected an integer of at least 1"):
        detector.check_frequency = 0
