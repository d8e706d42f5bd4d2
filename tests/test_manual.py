"""README.zh-CN.md, for readers of the manual: its blocks run, and its table's promises are kept."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_logging import CollapseMonitor, Level, PosteriorCollapseDetector
from collapse_logging.cli import _parser, main

from .parts import healthy_then_collapsing, recorded
from .test_faults_table import names_in

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [body for language, body in BLOCKS if language == "python"]
BASH = [line for language, body in BLOCKS if language == "bash" for line in body.splitlines()]
(YAML,) = [body for language, body in BLOCKS if language == "yaml"]
LAYOUT, LOG, STATISTICS = [body for language, body in BLOCKS if language == "text"]

NOT_ON_THE_EXAMPLE = {"fit", "demo", "train", "make-data"}
"""Commands that make what the others look at."""

CONSTRUCTOR = {
    "kl_threshold": 0.01,
    "var_threshold": 0.1,
    "active_units_threshold": 0.1,
    "check_frequency": 50,
    "early_stop_patience": 200,
    "auto_save_on_collapse": True,
    "verbose": True,
}
"""The manual's arguments with its defaults; that of ``log_dir`` is ours: beside the curves."""


def rows(text: str) -> list[list[str]]:
    """The cells of the table of promises."""
    table = text[text.index("| 手册的承诺 |") :]
    cells = [[c.strip() for c in line.strip("|").split(" | ")] for line in table.splitlines()]
    return [row for row in cells[2:] if len(row) > 1]


def wrong(text: str) -> list[str]:
    """Rows that are not whole, and tests that are not there."""
    problems = []
    for row in rows(text):
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[-1])
        if len(row) != 3 or not named:
            problems.append(f"expected promise, way and tests, got {row}")
        problems += [
            f"there is no {file}::{test}"
            for file, test in named
            if not (ROOT / file).exists() or test not in names_in(ROOT / file)
        ]
    return problems


def test_every_promise_names_its_tests() -> None:
    """Each row of the table has a promise, how it is kept, and tests that exist."""
    assert wrong(README) == []
    assert len(rows(README)) > 35


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("::test_demo_shows_both_fates`", "::test_demo_shows_one_fate`"),
        ("`tests/test_cli.py::test_demo_shows_both_fates`", "later"),
        ("`tests/test_cli.py::", "`tests/test_gone.py::"),
    ],
)
def test_the_table_test_can_fail(good: str, bad: str) -> None:
    """A test that was renamed or moved, and a row without one, are found."""
    assert good in README
    assert len(wrong(README.replace(good, bad))) == 1


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """No block is in a language that the tests below do not run or compare."""
    assert {language for language, _ in BLOCKS} == {"python", "yaml", "bash", "text"}


@pytest.fixture(scope="module", params=range(len(PYTHON)))
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a Python block has run as it stands."""
    folder = tmp_path_factory.mktemp(f"block{request.param}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(PYTHON[request.param], "README.zh-CN.md", "exec"), {"__name__": "block"})
    return folder


def test_python_block_runs(ran: Path) -> None:
    """Each in an empty folder; what has trained has its statistics and found what is there."""
    written = ran / "collapse_logs" / "final_statistics.txt"
    if "trainer.fit" in PYTHON[int(re.findall(r"block(\d)", ran.name)[0])]:
        collapsed = "BetaJumps" in PYTHON[int(re.findall(r"block(\d)", ran.name)[0])]
        assert f"检测到塌缩：{'是' if collapsed else '否'}" in written.read_text(encoding="utf-8")


@pytest.mark.parametrize("ran", [len(PYTHON) - 1], indirect=True)
def test_the_samples_are_what_is_written(ran: Path) -> None:
    """Names of files, lines of the log and labels of the statistics are those of a real run."""
    folder = ran / "collapse_logs"
    shown = re.findall(r"^[├└]── (\S+)", LAYOUT, re.MULTILINE)
    there = sorted(path.name for path in folder.iterdir())
    assert [re.sub(r"\d+", "0", name) for name in sorted(shown)] == [
        re.sub(r"\d+", "0", name) for name in there
    ]
    label = re.compile("^[^：]+：", re.MULTILINE)
    statistics = (folder / "final_statistics.txt").read_text(encoding="utf-8")
    assert label.findall(STATISTICS) == label.findall(statistics)
    assert STATISTICS.splitlines()[:2] == statistics.splitlines()[:2]
    (log,) = folder.glob("*.log")
    forms = {form(line) for line in log.read_text(encoding="utf-8").splitlines()}
    assert {form(line) for line in LOG.splitlines()} <= forms


def form(line: str) -> str:
    """A line of the log with its numbers taken out."""
    return re.sub(r"-?\d+(\.\d+)?(e-\d+)?", "0", line)


@pytest.mark.parametrize("ran", [len(PYTHON) - 1], indirect=True)
def test_the_commands_do_what_the_text_says(
    ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the folder of the last example: a verdict, a picture, nothing wrong, in Chinese."""
    monkeypatch.chdir(ran)
    lines = [shlex.split(line, comments=True) for line in BASH]
    for words in lines:
        if words[0] != "collapse-logging" or words[1] in NOT_ON_THE_EXAMPLE or "my_" in words[2]:
            continue
        watching = ["--timeout", "0.1"] if "--watch" in words else []
        assert main([*words[1:], *watching]) == (1 if words[1] == "check" else 0)
        assert re.search("[\u4e00-\u9fff]", capsys.readouterr().out)
    assert (ran / "collapse_logs" / "collapse_report.png").exists()


def test_the_commands_are_understood() -> None:
    """Every line is of a known program, every option known; test_train and test_cli run them."""
    lines = [shlex.split(line, comments=True) for line in BASH]
    ours = [words[1:] for words in lines if words[0] == "collapse-logging" and words[1] != "fit"]
    assert {words[0] for words in lines} == {"collapse-logging", "pip", "tensorboard"}
    assert {words[0] for words in ours} > NOT_ON_THE_EXAMPLE - {"fit"}
    for words in ours:
        assert _parser().parse_args(words).command == words[0]


def test_the_yaml_trains(tmp_path: Path) -> None:
    """The configuration and the command beside it, and the schedule is in force."""
    (tmp_path / "digits.yaml").write_text(YAML, encoding="utf-8")
    (line,) = [line for line in BASH if line.startswith("collapse-logging fit")]
    command = [sys.executable, "-m", "collapse_logging", *shlex.split(line)[1:]]
    command.append("--trainer.max_steps=30")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (ledger,) = tmp_path.glob("runs/**/collapse_ledger.jsonl")
    settings = json.loads(ledger.read_text(encoding="utf-8").splitlines()[0])
    assert settings["check_frequency"] == {"0": 100, "1000": 50, "5000": 20}


def test_the_detection_table_is_the_committed_result() -> None:
    """The figures are those of benchmarks/detection/results, row by row."""
    from benchmarks.detection.tables import RESULTS, short

    result = json.loads((RESULTS / "detection.json").read_text(encoding="utf-8"))
    for row in short(result).strip().splitlines()[2:]:
        cells = row.replace(" of ", "/").replace("never", "从未").strip("|").split(" | ")
        assert " | ".join(cells[1:]).strip() + " |" in README, row


def test_the_overhead_table_is_the_committed_result() -> None:
    """Each of its figures stands in benchmarks/overhead/results."""
    results = ROOT / "benchmarks" / "overhead" / "results"
    told = "".join(
        (results / f"{name}.md").read_text(encoding="utf-8") for name in ("targets", "baselines")
    )
    part = README[README.index("## 性能影响分析") : README.index("## 最佳实践建议")]
    figures = re.findall(r"\| (\d+) \|$", part, re.MULTILINE) + re.findall(r"\d+\.\d\d%", part)
    assert len(figures) == 5
    for figure in figures:
        assert f" {figure} " in told or f"{figure}" in told.split("own time")[1], figure


def test_links_lead_to_files() -> None:
    """Every relative link and every link within the page leads somewhere."""
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[，、：。 ]", "", heading) for heading in headings}
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        found = target[1:] in anchors if target.startswith("#") else (ROOT / target).exists()
        assert found, target


def test_the_manuals_constructor() -> None:
    """Every argument of the manual's is there, and means its default when it is left out."""
    detector = PosteriorCollapseDetector()
    arguments = inspect.signature(PosteriorCollapseDetector).parameters
    assert {*CONSTRUCTOR, "log_dir", "window_size", "plot_frequency"} <= set(arguments)
    for name, value in CONSTRUCTOR.items():
        found = getattr(detector, name, None)
        assert (getattr(detector.rules, name) if found is None else found) == value
    made = PosteriorCollapseDetector(**CONSTRUCTOR, log_dir="./collapse_logs")
    assert made.rules == detector.rules


def test_the_quicker_settings_are_quicker() -> None:
    """The manual's remedy for late detection: the same collapse is red at an earlier step."""
    quicker = {"check_frequency": 10, "window_size": 20, "early_stop_patience": 50}
    red = []
    for settings in ({}, quicker):
        monitor, memory = recorded(**settings)
        healthy_then_collapsing(monitor, 100, 300)
        red.append(next(a.step for a in memory.alerts if a.level is Level.RED))
    assert 100 < red[1] < red[0]


def test_what_a_check_takes_on_the_disk(tmp_path: Path) -> None:
    """Ledger and detection log: what the text says, for a latent of eight units, and no more."""
    import torch

    with CollapseMonitor(log_dir=tmp_path, check_frequency=1, verbose=False) as monitor:
        for seed in range(100):
            generator = torch.Generator().manual_seed(seed)
            mean = torch.randn(64, 8, generator=generator)
            monitor.observe("z", mean, torch.randn(64, 8, generator=generator) - 3.0)
            monitor.step(reconstruction_loss=1.0)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 1000 < size / 100 < 2000
