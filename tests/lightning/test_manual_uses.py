"""What the manual does with its detector, with ours: schedules, two detectors, answers by level."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collapse_logging import Alert, Level, PosteriorCollapseDetector
from collapse_logging.alert_parts import Action
from collapse_logging.remedies import LowerBeta, RaiseFreeBits, RestartWarmUp
from collapse_logging.writers import MemoryWriter

from .parts import Core, loader, model, trainer


def detector(**options: Any) -> tuple[PosteriorCollapseDetector, MemoryWriter]:
    """A quiet detector that checks every five steps, and the memory that it writes to."""
    memory = MemoryWriter()
    settings = {"latents": {"z": "vae.encoder"}, "check_frequency": 5, "verbose": False}
    return PosteriorCollapseDetector(writers=[memory], **{**settings, **options}), memory


class WarmsUp(Core):
    """Beta rises from the step at which the warm-up began; a jump lets it collapse."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.warm_up_began = 0
        self.register_buffer("free_bits", torch.tensor(0.0))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        """As the others; the jump comes once."""
        if self.global_step == self.collapse_at:
            self.vae.beta = 1000.0
        loss, reconstruction = self.vae(batch[0])
        self.log("train_recon", reconstruction)
        return loss


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable.*")
def test_a_schedule_in_lightning(pl: Any, tmp_path: Path) -> None:
    """Every ten steps, every five from step 20 on; after a resume at step 23 the same checks."""

    class Saves(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == 23:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    schedule = {0: 10, 20: 5}
    whole, memory = detector(check_frequency=schedule)
    trainer(pl, tmp_path, whole, Saves(), max_steps=40).fit(model(pl), loader())
    expected = [9, 19, 24, 29, 34, 39]
    assert [report.step for report in memory.reports] == expected
    resumed, after = detector(check_frequency=schedule)
    run = trainer(pl, tmp_path, resumed, max_steps=40)
    run.fit(model(pl), loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert [report.step for report in after.reports] == expected[2:]


def test_the_manuals_adaptive_frequency(pl: Any, tmp_path: Path) -> None:
    """Its function and its two lines, in a callback of the user's, on our detector."""

    def get_adaptive_check_frequency(current_step: int) -> int:
        return 10 if current_step < 20 else 5

    callback, memory = detector(check_frequency=10)

    class Adaptive(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if hasattr(callback, "check_frequency"):
                callback.check_frequency = get_adaptive_check_frequency(trainer.global_step)

    trainer(pl, tmp_path, callback, Adaptive(), max_steps=40).fit(model(pl), loader())
    assert [report.step for report in memory.reports] == [9, 19, 24, 29, 34, 39]
    assert callback.check_frequency == 5


def test_an_early_warning_beside_the_main_detector(pl: Any, tmp_path: Path) -> None:
    """One log_dir for both: a folder each by name, with ledger, log, statistics and models."""
    folder = tmp_path / "collapse_logs"
    common = {"log_dir": str(folder), "language": "zh"}
    main, seen = detector(name="main", check_frequency=10, **common)
    early, earlier = detector(name="early", kl_threshold=0.02, **common)
    run = trainer(pl, tmp_path, main, early, max_steps=110)
    run.fit(model(pl, collapse_at=60, learning_rate=1e-2), loader())
    assert [len(memory.reports) for memory in (seen, earlier)] == [11, 22]
    red = [next(a.step for a in m.alerts if a.level is Level.RED) for m in (seen, earlier)]
    assert red[1] <= red[0]
    assert {"main/level", "early/level"} <= set(run.callback_metrics)
    for name in ("main", "early"):
        assert len(list((folder / name).glob("collapse_detection_*.log"))) == 1
        assert len(list((folder / name).glob("model_before_collapse_step_*.ckpt"))) == 1
        text = (folder / name / "final_statistics.txt").read_text(encoding="utf-8")
        assert "检测到塌缩：是" in text
        assert (folder / name / "collapse_ledger.jsonl").exists()
    assert {path.name for path in folder.iterdir()} == {"main", "early"}
    assert "KL 阈值：0.02" in text


def test_each_of_two_says_who_it_is(pl: Any, tmp_path: Path, log: Any) -> None:
    """Alerts and verdict of a detector with a name of its own begin with it."""
    both = [detector(name=name, verbose=True)[0] for name in ("collapse", "early")]
    trainer(pl, tmp_path, *both, max_steps=50).fit(model(pl, reduction="mean"), loader())
    said = [r.getMessage() for r in log.records if r.name == "collapse_logging"]
    ours = [text for text in said if "verdict" in text or "posterior collapse: z" in text]
    assert {text.split("🔴")[0] for text in ours} == {"", "[early] "}
    assert len(ours) == 4


def test_one_detector_writes_into_log_dir_itself(pl: Any, tmp_path: Path) -> None:
    """The manual's folder: log, models and statistics lie in it, under the manual's names."""
    folder = tmp_path / "collapse_logs_20241220_143022"
    callback, memory = detector(log_dir=str(folder), name="mine")
    fit = trainer(pl, tmp_path, callback, max_steps=110)
    fit.fit(model(pl, collapse_at=60, learning_rate=1e-2), loader())
    red = next(alert for alert in memory.alerts if alert.level is Level.RED)
    names = sorted(path.name for path in folder.iterdir())
    assert names[0].startswith("collapse_detection_")
    assert names[1:3] == ["collapse_ledger.jsonl", "final_statistics.txt"]
    assert names[3] == f"model_at_alarm_step_{red.step}.ckpt"
    assert names[4] == red.checkpoint
    assert red.checkpoint.startswith("model_before_collapse_step_")


def test_the_manuals_answers_by_level(pl: Any, tmp_path: Path) -> None:
    """One function a level, each called with the alert; the last saves and stops."""
    said: list[str] = []

    def watch(alert: Alert) -> None:
        said.append(f"🟡 {alert.step}")

    def stop(alert: Alert) -> None:
        said.append(f"🔴 {alert.step}")
        run.should_stop = True

    callback, memory = detector(on_yellow=watch, on_red=stop)
    run = trainer(pl, tmp_path, callback, max_steps=400)
    run.fit(model(pl, collapse_at=60, learning_rate=1e-2), loader())
    steps = {a.level: a.step for a in memory.alerts if a.level > a.previous}
    assert said[-1] == f"🔴 {steps[Level.RED]}"
    assert run.global_step < 200


def test_remedies_find_the_module(pl: Any, tmp_path: Path) -> None:
    """Beta of a part, free bits in a buffer, the step at which the warm-up began: all told."""
    callback, memory = detector(
        responses=[LowerBeta("vae.beta", factor=0.001)],
        on_red=RestartWarmUp("warm_up_began"),
        on_yellow=RaiseFreeBits(),
        log_dir=str(tmp_path / "logs"),
    )
    one = model(pl, WarmsUp, collapse_at=60, learning_rate=1e-2)
    trainer(pl, tmp_path, callback, max_steps=110).fit(one, loader())
    red = next(alert for alert in memory.alerts if alert.level is Level.RED)
    assert red.actions == (
        Action("vae.beta", 1000.0, 1.0),
        Action("warm_up_began", 0, red.step),
    )
    assert one.vae.beta == 1.0
    assert one.warm_up_began == red.step
    assert one.free_bits.item() == pytest.approx(0.1)
    lines = (tmp_path / "logs" / "collapse_ledger.jsonl").read_text().splitlines()
    kept = [
        action for x in lines for a in json.loads(x).get("alerts", []) for action in a["actions"]
    ]
    assert {action["attribute"] for action in kept} == {"vae.beta", "warm_up_began", "free_bits"}


def test_a_number_that_the_module_does_not_have(pl: Any, tmp_path: Path) -> None:
    """Told when training starts, not in the night."""
    callback, _ = detector(on_orange=LowerBeta("beta"))
    with pytest.raises(ValueError, match=r"LowerBeta: .* Did you mean 'vae.beta'\?"):
        trainer(pl, tmp_path, callback).fit(model(pl), loader())


CONFIGURATION = """
model: {class_path: tests.lightning.test_manual_uses.Configured}
trainer:
  accelerator: cpu
  max_steps: 40
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: collapse_logging.PosteriorCollapseDetector
      init_args:
        latents: vae.encoder
        verbose: false
        log_dir: main
        check_frequency: {0: 10, "20": 5}
        on_orange:
          class_path: collapse_logging.remedies.LowerBeta
          init_args: {attribute: vae.beta}
        responses: [{class_path: collapse_logging.remedies.RaiseFreeBits, init_args: {by: 0.5}}]
    - class_path: collapse_logging.PosteriorCollapseDetector
      init_args:
        latents: vae.encoder
        name: early
        log_dir: early
        check_frequency: 4
        verbose: false
"""


def test_all_of_it_by_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedule, a text for a key, remedies by level, two detectors, in LightningCLI's YAML."""
    import pytorch_lightning as pl
    from pytorch_lightning.cli import LightningCLI

    class Configured(pl.LightningModule, WarmsUp):
        training_step = WarmsUp.training_step
        configure_optimizers = WarmsUp.configure_optimizers

        def __init__(self) -> None:
            pl.LightningModule.__init__(self)
            WarmsUp.__init__(self)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "Configured", Configured, raising=False)
    (tmp_path / "run.yaml").write_text(CONFIGURATION)
    monkeypatch.setattr(sys, "argv", ["fit", "--config", "run.yaml"])
    cli = LightningCLI(
        pl.LightningModule,
        subclass_mode_model=True,
        run=False,
        save_config_callback=None,
        seed_everything_default=False,
    )
    main, early = (c for c in cli.trainer.callbacks if isinstance(c, PosteriorCollapseDetector))
    assert main.rules.check_frequency == {0: 10, 20: 5}
    assert isinstance(main.by_level["on_orange"], LowerBeta)
    assert isinstance(main.responses[0], RaiseFreeBits)
    cli.trainer.fit(cli.model, loader())
    checks = (main.report.check + 1, early.report.check + 1)
    assert checks == (6, 10)
    assert (tmp_path / "main" / "final_statistics.txt").exists()
    assert (tmp_path / "early" / "final_statistics.txt").exists()
