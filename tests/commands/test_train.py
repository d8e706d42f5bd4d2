"""``train`` and ``make-data``, as a person types them."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import collapse_logging
from collapse_logging.cli import main
from collapse_logging.training.cohort import patient
from collapse_logging.writers.ledger import read_ledger

pytest.importorskip("pyarrow")
YAML = Path(collapse_logging.__file__).parent / "training"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; what ``train`` changes in its process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLLAPSE_LOGGING_TRAIN_FOLDERS", "")  # and so it is taken back
    lightning = logging.getLogger("pytorch_lightning")
    level, ctrl_c = lightning.level, signal.getsignal(signal.SIGINT)
    yield tmp_path
    lightning.setLevel(level)
    signal.signal(signal.SIGINT, ctrl_c)


def test_a_cohort_is_made_and_trained_on(place: Path, capsys: Capture) -> None:
    """make-data's last line is typed with the manual's flags; everything is where it is said."""
    assert main(["make-data", "cohort", "--patients", "60", "--seed", "5"]) == 0
    made = capsys.readouterr().out
    assert "60 patients in cohort: 48 for training, 6 for validation, 6 for test." in made
    line = made.strip().splitlines()[-1].split()
    assert line[:2] == ["collapse-logging", "train"]
    flags = ["--fast_detection", "--max_epochs", "3", "--devices", "1", "--log_dir", "./my_logs"]
    command = [sys.executable, "-m", "collapse_logging", *line[1:], *flags]
    command += ["--output_dir", "./my_outputs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (model,) = place.glob("my_outputs/seqset_*/last.ckpt")
    assert list(place.glob("my_logs/events.out.tfevents.*"))
    lines = list(read_ledger(place / "my_logs" / "collapse_ledger.jsonl"))
    assert lines[0]["check_frequency"] == 20
    assert lines[-1]["step"] == 3 * 48 - 1
    assert list(lines[-1]["latents"]) == ["z"]
    for said in (
        "The training has ended: 144 steps.",
        "HEALTHY: my_logs",
        "charts: tensorboard --logdir my_logs",
        "picture: collapse-logging report my_logs",
        f"model: {model.relative_to(place)}",
    ):
        assert said in done.stdout
    assert "Traceback" not in done.stderr


def test_a_collapse_is_told_at_the_end(place: Path, capsys: Capture) -> None:
    """In Chinese, with hyphens and without --log_dir: the manual's folder, the verdict, the probe;
    a log_dir that was used is left alone.
    """
    flags = ["--beta", "100", "--fast-detection", "--max-steps", "240", "--language", "zh"]
    assert main(["train", *flags]) == 0
    out = capsys.readouterr().out
    (folder,) = place.glob("collapse_logs_*")
    assert re.fullmatch(r"collapse_logs_\d{8}_\d{6}", folder.name)
    assert f"已塌缩：{folder.name}" in out
    assert f"tensorboard --logdir {folder.name}" in out
    assert "训练已结束：240 步" in out
    assert list(folder.glob("model_at_alarm_step_*.ckpt"))
    assert len(list(folder.glob("collapse_detection_*.log"))) == 1
    assert (folder / "final_statistics.txt").exists()
    assert "decoder_gap" in json.dumps(list(read_ledger(folder / "collapse_ledger.jsonl")))
    assert main(["train", "--model", "text", "--max-steps", "1", "--log-dir", folder.name]) == 0
    assert "CANNOT TELL" in capsys.readouterr().out
    assert len(list(place.glob(f"{folder.name}_*/collapse_ledger.jsonl"))) == 1


def test_without_the_detector_nothing_is_watched(place: Path, capsys: Capture) -> None:
    """--disable_collapse_detection: no ledger, no verdict, and it says so."""
    flags = ["--model", "mlp", "--disable_collapse_detection", "--max-epochs", "1"]
    assert main(["train", *flags, "--log_dir", "logs"]) == 0
    assert "No verdict: the collapse detection was switched off." in capsys.readouterr().out
    assert not list(place.rglob("collapse_ledger.jsonl"))
    assert list(place.glob("outputs/mlp_*/last.ckpt"))


def test_ctrl_c_saves_tells_and_can_be_resumed(place: Path, capsys: Capture) -> None:
    """Exit code 130, a checkpoint, a verdict, and a training that goes on from there."""
    code = (
        "import signal, sys; from collapse_logging.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have it ignored\n"
        "sys.exit(main(['train', '--fast_detection', '--max_epochs', '900', '--log_dir', 'x']))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    training = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload]
    ledger, deadline = place / "x" / "collapse_ledger.jsonl", time.monotonic() + 120
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
    (checkpoint,) = place.glob("outputs/*/last.ckpt")
    assert f"--resume {checkpoint.relative_to(place)}" in out
    assert re.search(r"^(HEALTHY|AT RISK|CANNOT TELL): x$", out, re.MULTILINE)
    flags = ["--fast_detection", "--resume", str(checkpoint), "--max-steps", str(steps + 1)]
    assert main(["train", *flags]) == 0
    assert f"The training has ended: {steps + 1} steps." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--max_epochs", "0"], "--max_epochs: expected an integer of at least 1, got 0"),
        (["train", "--devices", "0"], "--devices: expected an integer of at least 1, got 0"),
        (["train", "--beta", "-1"], "--beta: expected a number from 0"),
        (["train", "--data_dir", "no"], "expected a folder with train/, valid/ and test/, got"),
        (["train", "--model", "mlp", "--data_dir", "."], "--data_dir: expected with --model"),
        (["train", "--resume", "no.ckpt"], "--resume: expected a checkpoint, got 'no.ckpt'"),
        (["make-data", "new", "--patients", "3"], "--patients: expected an integer of at least 10"),
        (["make-data", "."], "DIR: expected a new or an empty folder, got '.'"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    words: list[str], message: str, place: Path, capsys: Capture
) -> None:
    """Exit code 2, expected and got, and no training has left a file."""
    (place / "there").write_text("")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert [file.name for file in place.iterdir()] == ["there"]


def test_a_seed_gives_the_same_files(place: Path, capsys: Capture) -> None:
    """Bit by bit; and what is told of them is what is in them."""
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(["make-data", name, "--patients", "20", "--seed", seed]) == 0
    one, same, other = (digests(place / name) for name in "abc")
    assert one == same
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    assert len(one) == 20
    events = sum(len(patient(3, index).value) for index in range(20))
    assert f"{events:,} events" in capsys.readouterr().out


def digests(folder: Path) -> dict[str, str]:
    """Every file's content in short."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


@pytest.mark.parametrize("name", ["seqset", "text"])
def test_the_shipped_yaml_trains(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI builds model, data and detector from it, and takes overrides."""
    monkeypatch.setattr(sys, "argv", ["collapse-logging"])  # LightningCLI looks at it too
    words = ["fit", "--config", str(YAML / f"{name}.yaml"), "--trainer.max_steps=25"]
    assert main([*words, "--trainer.limit_val_batches=1"]) == 0
    (ledger,) = place.glob(f"runs/{name}/version_0/collapse/collapse_ledger.jsonl")
    assert list(list(read_ledger(ledger))[-1]["latents"]) == ["z"]
