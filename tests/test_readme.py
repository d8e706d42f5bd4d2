"""Every code block of the README runs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [body for language, body in BLOCKS if language == "python"]
YAML = [body for language, body in BLOCKS if language == "yaml"]
BASH = [line for language, body in BLOCKS if language == "bash" for line in body.splitlines()]


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_every_block_is_of_a_kind_that_runs() -> None:
    """No block is in a language that the tests below do not run."""
    assert {language for language, _ in BLOCKS} == {"python", "yaml", "bash"}
    assert len(PYTHON) >= 3
    assert len(YAML) == 1


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_python_block_runs(block: str, tmp_path: Path) -> None:
    """A Python block runs as it stands, in an empty folder."""
    done = _run([sys.executable, "-c", block], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_yaml_block_trains_with_the_shipped_command(tmp_path: Path) -> None:
    """The YAML and the fit command beside it train, and the detector writes its ledger."""
    (tmp_path / "digits.yaml").write_text(YAML[0])
    (line,) = [line for line in BASH if line.startswith("collapse-logging fit")]
    command = [sys.executable, "-m", "collapse_logging", *shlex.split(line)[1:]]
    done = _run([*command, "--trainer.max_steps=60"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.glob("runs/**/collapse_ledger.jsonl"))


def test_the_commands_run_on_the_demos_folder(tmp_path: Path) -> None:
    """Each command of the README does what its comment says to what the demo leaves behind."""
    command = [sys.executable, "-m", "collapse_logging"]
    done = _run([*command, "demo", "--steps", "200", "--out", "runs/demo"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in BASH if line.startswith("collapse-logging")]
    lines = [shlex.split(line, comments=True)[1:] for line in lines if " fit " not in line]
    assert len(lines) >= 6
    for line in lines:
        done = _run([*command, *line], tmp_path)
        expected = 1 if line[0] == "check" else 0
        assert done.returncode == expected, (line, done.stdout[-1000:], done.stderr[-1000:])
    assert (tmp_path / "runs" / "demo" / "averaged" / "collapse_report.html").exists()


@pytest.mark.parametrize("line", [line for line in BASH if not line.startswith("collapse-logging")])
def test_bash_line_names_what_exists(line: str) -> None:
    """A make target, or the extras of a pip install, are there; .ci/run runs the targets."""
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    assert words[:2] == ["pip", "install"]
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extra in re.findall(r"\[(.+)\]", words[-1])[0].split(","):
        assert extra in setup["options.extras_require"]


@pytest.mark.usefixtures("cost_told")
def test_every_tag_in_the_table_is_written(tmp_path: Path) -> None:
    """Each measure, histogram, picture and text that the README names is in the event file."""
    from collapse_logging import Codebook, CollapseMonitor
    from collapse_logging.rules import Rules
    from collapse_logging.writers import MemoryWriter, TensorBoardWriter
    from tests.lightning.readers import events

    names = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", README, re.MULTILINE)))
    block = PYTHON[-1].replace("responses=[print]", "verbose=False")
    memory = {}
    exec(compile(block, "README.md", "exec"), memory)
    writer = memory["memory"]
    assert isinstance(writer, MemoryWriter)
    board = TensorBoardWriter(tmp_path)
    board.open(dataclasses.asdict(Rules()))
    for report in writer.reports:
        board.write(report)
    with CollapseMonitor([board], check_frequency=1, verbose=False) as monitor:
        monitor.observe("encoder", Codebook(torch.arange(64), 8))  # of the same name, for its tags
        monitor.step(step=10_000)
    found = {tag for tags in events(tmp_path).Tags().values() if tags for tag in list(tags)}
    assert len(names) > 10
    sometimes = {"within_batch_variance", "decoder_gap", "decoder_gap_error"}  # see the table
    missing = {name for name in names if f"collapse/encoder/{name}" not in found}
    assert missing <= sometimes
    others = re.findall(r"`(log10_\w+|information_map|collapse/\w+)`", README)
    assert len(others) >= 4
    for name in others:
        assert {name, f"{name}/text_summary", f"collapse/encoder/{name}"} & found, name


def test_the_detection_table_is_the_committed_result() -> None:
    """The README's figures are those of benchmarks/detection/results."""
    from benchmarks.detection.tables import RESULTS, short

    result = json.loads((RESULTS / "detection.json").read_text(encoding="utf-8"))
    assert short(result) in README


def test_links_lead_to_files() -> None:
    """Every relative link and picture of the README is in the repository."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
