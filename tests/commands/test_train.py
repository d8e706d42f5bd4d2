"""``train`` and ``make-data``, as a person types them."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import collapse_logging
from collapse_logging.cli import main
from collapse_logging.training.cohort import patient
from collapse_logging.writers.ledger import read_ledger

pytest.importorskip("pyarrow")
YAML = Path(collapse_logging.__file__).parent / "training"


def typed(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``collapse-logging`` in a folder."""
    command = [sys.executable, "-m", "collapse_logging", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_cohort_is_made_and_trained_on(tmp_path: Path) -> None:
    """make-data's last line is typed with the manual's flags; everything is where it is said."""
    made = typed("make-data", "cohort", "--patients", "60", "--seed", "5", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "60 patients in cohort: 48 for training, 6 for validation, 6 for test." in made.stdout
    line = made.stdout.strip().splitlines()[-1].split()
    assert line[:2] == ["collapse-logging", "train"]
    flags = ["--fast_detection", "--max_epochs", "3", "--devices", "1", "--log_dir", "./my_logs"]
    done = typed(*line[1:], *flags, "--output_dir", "./my_outputs", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (model,) = tmp_path.glob("my_outputs/seqset_*/last.ckpt")
    assert list(tmp_path.glob("my_logs/events.out.tfevents.*"))
    lines = list(read_ledger(tmp_path / "my_logs" / "collapse_ledger.jsonl"))
    assert lines[0]["check_frequency"] == 20
    assert lines[-1]["step"] == 3 * 48 - 1
    assert list(lines[-1]["latents"]) == ["z"]
    assert "decoder_gap" in json.dumps(lines)
    for said in (
        "The training has ended: 144 steps.",
        "HEALTHY: my_logs",
        "charts: tensorboard --logdir my_logs",
        "picture: collapse-logging report my_logs",
        f"model: {model.relative_to(tmp_path)}",
    ):
        assert said in done.stdout
    assert "Traceback" not in done.stderr
    again = typed("train", "--max-steps", "1", "--log-dir", "my_logs", folder=tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    (second,) = tmp_path.glob("my_logs_*")
    assert re.fullmatch(r"my_logs_\d{8}_\d{6}", second.name)
    assert "CANNOT TELL" in again.stdout


def test_a_collapse_is_told_at_the_end(tmp_path: Path) -> None:
    """A text VAE with beta 1, in Chinese, without --log_dir: the manual's folder, the verdict."""
    flags = ("--model", "text", "--beta", "1", "--fast-detection", "--max-steps", "200")
    done = typed("train", *flags, "--language", "zh", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (folder,) = tmp_path.glob("collapse_logs_*")
    assert f"已塌缩：{folder.name}" in done.stdout
    assert f"tensorboard --logdir {folder.name}" in done.stdout
    assert "训练已结束：200 步" in done.stdout
    assert list(folder.glob("model_at_alarm_step_*.ckpt"))


def test_without_the_detector_nothing_is_watched(tmp_path: Path) -> None:
    """--disable_collapse_detection: no ledger, no verdict, and it says so."""
    flags = ("--model", "mlp", "--disable_collapse_detection", "--max-epochs", "1")
    done = typed("train", *flags, "--log_dir", "logs", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "No verdict: the collapse detection was switched off." in done.stdout
    assert not list(tmp_path.rglob("collapse_ledger.jsonl"))
    assert list(tmp_path.glob("outputs/mlp_*/last.ckpt"))


def test_ctrl_c_saves_tells_and_can_be_resumed(tmp_path: Path) -> None:
    """Exit code 130, a checkpoint, a verdict, and a training that goes on from there."""
    code = (
        "import signal, sys; from collapse_logging.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have it ignored\n"
        "sys.exit(main(['train', '--fast_detection', '--max_epochs', '900', '--log_dir', 'x']))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    training = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, **pipes)  # type: ignore[call-overload]
    ledger, deadline = tmp_path / "x" / "collapse_ledger.jsonl", time.monotonic() + 120
    try:
        while not (ledger.exists() and len(list(read_ledger(ledger))) > 2):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        training.send_signal(signal.SIGINT)
        out, errors = training.communicate(timeout=60)
    finally:
        training.kill()
    assert training.returncode == 130
    assert "Traceback" not in errors
    steps = int(re.findall(r"Stopped by Ctrl-C: (\d+) steps; everything is saved", out)[0])
    (checkpoint,) = tmp_path.glob("outputs/*/last.ckpt")
    assert f"--resume {checkpoint.relative_to(tmp_path)}" in out
    assert re.search(r"^(HEALTHY|AT RISK|CANNOT TELL): x$", out, re.MULTILINE)
    flags = ("--fast_detection", "--resume", str(checkpoint), "--max-steps", str(steps + 1))
    resumed = typed("train", *flags, folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert f"The training has ended: {steps + 1} steps." in resumed.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--max_epochs", "0"], "--max_epochs: expected an integer of at least 1, got 0"),
        (["train", "--devices", "0"], "--devices: expected an integer of at least 1, got 0"),
        (["train", "--beta", "-1"], "--beta: expected a number from 0"),
        (
            ["train", "--data_dir", "no"],
            "expected a folder with train/, valid/ and test/, got",
        ),
        (
            ["train", "--model", "mlp", "--data_dir", "."],
            "--data_dir: expected with --model",
        ),
        (["train", "--resume", "no.ckpt"], "--resume: expected a checkpoint, got 'no.ckpt'"),
        (["make-data", "new", "--patients", "3"], "--patients: expected an integer of at least 10"),
        (["make-data", "."], "DIR: expected a new or an empty folder, got '.'"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, expected and got, and no training has left a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


def test_a_seed_gives_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bit by bit, and a patient's number means the same patient in a cohort of another size."""
    for name, seed, count in (("a", 3, 20), ("b", 3, 20), ("c", 4, 20)):
        flags = ["--patients", str(count), "--seed", str(seed), "--language", "en"]
        assert main(["make-data", str(tmp_path / name), *flags]) == 0
    one, same, other = (digests(tmp_path / name) for name in "abc")
    assert one == same
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    assert len(one) == 20
    told = capsys.readouterr().out
    events = sum(len(patient(3, index).value) for index in range(20))
    assert f"{events:,} events" in told


def digests(folder: Path) -> dict[str, str]:
    """Every file's content in short."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


@pytest.mark.parametrize("name", ["seqset", "text"])
def test_the_shipped_yaml_trains(name: str, tmp_path: Path) -> None:
    """LightningCLI builds model, data and detector from it, and takes overrides."""
    words = ("fit", "--config", str(YAML / f"{name}.yaml"), "--trainer.max_steps=25")
    overrides = ("--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false")
    done = typed(*words, *overrides, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (ledger,) = tmp_path.glob(f"runs/{name}/version_0/collapse/collapse_ledger.jsonl")
    assert list(list(read_ledger(ledger))[-1]["latents"]) == ["z"]
