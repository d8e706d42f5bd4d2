"""The command line, as a person runs it."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import collapse_logging
from collapse_logging.cli import main
from collapse_logging.writers.ledger import read_ledger

YAML = Path(collapse_logging.__file__).parent / "training" / "digits.yaml"


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``collapse-logging`` in a folder."""
    words = [sys.executable, "-m", "collapse_logging", *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)


def test_demo_shows_both_fates(tmp_path: Path) -> None:
    """Files of both runs for TensorBoard and W&B, verdicts, and the lines to paste; twice."""
    pytest.importorskip("wandb")
    done = command("demo", "--steps", "300", "--wandb", "--out", "runs/x", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "tensorboard --logdir runs/x" in out
    assert "pinnedCards=" in out
    assert "/#custom_scalars&" in out
    assert "check that the reconstruction term is summed over pixels" in out
    for name, last in (("healthy", "OK"), ("averaged", "RED")):
        folder = tmp_path / "runs" / "x" / name
        assert list(folder.glob("events.out.tfevents.*"))
        assert list(folder.glob("wandb/offline-run-*/*.wandb"))
        levels = [r["level"] for r in read_ledger(folder / "collapse_ledger.jsonl") if "step" in r]
        assert levels[-1] == last
        assert ("RED" in levels) == (last == "RED")
    again = command("demo", "--steps", "40", "--out", "runs/x", folder=tmp_path)
    assert "tensorboard --logdir runs/x-2" in again.stdout


@pytest.mark.parametrize("namespace", ["pytorch_lightning", "lightning.pytorch"])
def test_lightning_cli_takes_the_detector(namespace: str, tmp_path: Path) -> None:
    """A LightningCLI of either namespace builds it from class_path and plain init_args."""
    (tmp_path / "run.py").write_text(f"""
import {namespace} as pl
from {namespace}.cli import LightningCLI
import torch
from collapse_logging.training.data import digits
from collapse_logging.training.vae import VAE

class Model(pl.LightningModule):
    def __init__(self, units: int = 4):
        super().__init__()
        self.vae = VAE(units=units)
    def training_step(self, batch, batch_idx):
        return self.vae(batch[0])[0]
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)

class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(digits()), 64)

LightningCLI(Model, Data)
""")
    (tmp_path / "c.yaml").write_text("""
trainer:
  max_steps: 20
  accelerator: cpu
  enable_progress_bar: false
  logger: {class_path: CSVLogger, init_args: {save_dir: out}}
  callbacks:
    - class_path: collapse_logging.PosteriorCollapseDetector
      init_args:
        latents: {z: vae.encoder}
        check_frequency: 10
        rules: fast
        stop_on_collapse: true
""")
    words = [sys.executable, "run.py", "fit", "--config", "c.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (ledger,) = tmp_path.rglob("collapse_ledger.jsonl")
    lines = list(read_ledger(ledger))
    assert lines[0]["kl_threshold"] == 0.005
    assert lines[0]["check_frequency"] == 10
    assert [line["step"] for line in lines[1:]] == [9, 19]
    assert list(lines[1]["latents"]) == ["z"]


def test_the_shipped_yaml_trains(tmp_path: Path) -> None:
    """``fit --config digits.yaml`` takes overrides; the averaged loss that it warns of is red."""
    overrides = ("--trainer.max_steps=200", "--model.init_args.reduction=mean")
    done = command("fit", "--config", str(YAML), *overrides, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "runs" / "digits" / "version_0"
    assert list(folder.glob("events.out.tfevents.*"))
    *_, last = read_ledger(folder / "collapse" / "collapse_ledger.jsonl")
    assert (last["step"], last["level"]) == (199, "RED")
    assert last["measures"]["reconstruction_loss"] > 0
    assert "verdict at step 199: RED (vae.encoder RED)" in done.stderr


def test_a_config_that_is_not_there_ends_with_code_2(tmp_path: Path) -> None:
    """LightningCLI's own message, and a code that a script can see."""
    done = command("fit", "--config", "missing.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "missing.yaml" in done.stderr


def test_ctrl_c_ends_a_demo_in_one_line(tmp_path: Path) -> None:
    """Exit code 130, no traceback, and every check so far in the ledger."""
    code = (
        "import signal, sys; from collapse_logging.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have it ignored\n"
        "sys.exit(main(['demo', '--steps', '1000000', '--out', 'x']))"
    )
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    demo = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, **pipes)
    ledger = tmp_path / "x" / "healthy" / "collapse_ledger.jsonl"
    deadline = time.monotonic() + 120
    try:
        while not (ledger.exists() and list(read_ledger(ledger))[1:]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert errors.strip() == "stopped."
    lines = list(read_ledger(ledger))
    assert lines[-1]["type"] == "report"


def test_bad_input_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, expected and got on stderr, no traceback."""
    assert main(["demo", "--steps", "0"]) == 2
    assert "--steps: expected an integer of at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nonsense"], 2)])
def test_usage(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The version, and what to type when nothing or nonsense was."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    printed = capsys.readouterr()
    assert collapse_logging.__version__ in printed.out or "nonsense" in printed.err


def test_no_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Someone who types the bare name sees what there is."""
    assert main([]) == 2
    assert "train two small VAEs" in capsys.readouterr().err


def test_the_entry_point_is_the_command() -> None:
    """setup.cfg's console script names a function that exists."""
    module, _, function = "collapse_logging.cli:main".partition(":")
    assert callable(getattr(importlib.import_module(module), function))
