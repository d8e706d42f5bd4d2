"""Names stay in the folder, texts stay texts, secrets stay secret, data stays data."""

from __future__ import annotations

import ast
import configparser
import contextlib
import dataclasses
import html
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from collapse_logging import Alert, CollapseMonitor, Level, PosteriorCollapseDetector, Report
from collapse_logging.cli import main
from collapse_logging.report import LatentReport
from collapse_logging.responses import KeepLastHealthy
from collapse_logging.writers import LedgerWriter, LogWriter, MlflowWriter, TensorBoardWriter
from collapse_logging.writers.limit import AlertLimit, Message
from collapse_logging.writers.tables import alerts_table
from tests.test_architecture import SOURCES
from tests.writers.conftest import drive

ROOT = Path(__file__).parents[1]

HOSTILE = [
    "../../escaped",
    "/escaped",
    "..\\..\\escaped",
    "C:\\escaped",
    "a/../../../escaped",
    "%2e%2e%2fescaped",
    "~/escaped",
    "$HOME/escaped",
    "nul\0byte",
    "CON",
    "NUL.txt",
    ".",
    "..",
    " ",
    "trailing. ",
    "new\nline",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "x" * 5000,
]
"""Names that a model or a run may have, all of them bad for a path."""


def tree(folder: Path) -> set[str]:
    """Everything below a folder, by its path from there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_latents_name_makes_no_file(tmp_path: Path) -> None:
    """Whatever latents are called, the files are the same, all of them in the run's folder."""
    made = []
    for parent, latents in ((tmp_path / "a", ("z",)), (tmp_path / "b", tuple(HOSTILE))):
        folder = parent / "run"
        keep = KeepLastHealthy(lambda path: path.write_bytes(b"model"), folder, every=1)
        drive([TensorBoardWriter(folder), LedgerWriter(folder)], latents=latents, responses=[keep])
        assert main(["report", str(folder)]) == 0
        names = {re.sub(r"_\d{8}_\d{6}\.log", ".log", path) for path in tree(parent)}
        made.append({path for path in names if "tfevents" not in path})
    assert made[0] == made[1]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert not list(tmp_path.parent.glob("*escaped*"))
    assert not Path("/escaped").exists()


def test_a_runs_name_makes_a_file_in_the_folder_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report's files are named after runs, whose folders may be called anything and nested."""
    names = ["r" * 200, f"{'r' * 199}s", "a/" * 60 + "run", "CON", "ä" * 100, "a..b"]
    for name in names:
        drive([LedgerWriter(tmp_path / "runs" / name)], checks=1)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    assert main(["report", "runs", "--out", "out"]) == 0
    new = tree(tmp_path) - before - {"out"}
    assert len(new) == 2 * len(names)
    assert {str(Path(path).parent) for path in new} == {"out"}
    assert all(len(Path(path).name.encode()) < 200 for path in new)


@pytest.mark.parametrize("prefix", ["../out", "/out", "a/b", "", "a\0", "x" * 99, ".hidden", 3])
def test_a_prefix_is_one_plain_word(tmp_path: Path, prefix: object) -> None:
    """It becomes a folder beside the curves, so it may not lead anywhere."""
    for make in (
        lambda: TensorBoardWriter(tmp_path / "run", prefix=prefix),
        lambda: MlflowWriter("0" * 32, object(), prefix=prefix),
        lambda: PosteriorCollapseDetector(name=prefix),
    ):
        with pytest.raises((TypeError, ValueError), match="expected .* 'collapse', got"):
            make()
    assert tree(tmp_path) <= {"run"}


# --- texts ---

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![pixel](https://tracker.example/p.png)",
    "[click](javascript:alert(1))",
    "<iframe src=//x.example></iframe>",
    "<a href='https://x.example'>y</a>",
    "https://x.example/",
    "<!channel> <!here> <@U1> @everyone @here",
    "\x1b[2J\x1b]0;title\x07",
    "line\nERROR forged line",
    "\r\x08\x7f\x9b31m",
    "| a | b |",
    "`code` **bold** # head",
]


def alert(name: str) -> Alert:
    """A collapse of a latent with a bad name."""
    return Alert(7, name, Level.OK, Level.RED, advice="act")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_alerts_text_is_text_everywhere(
    payload: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No markup in TensorBoard and in the page, no sequence in a terminal, no mention in a chat."""
    plugin_util = pytest.importorskip("tensorboard.plugin_util")
    shown = plugin_util.markdown_to_safe_html(alerts_table([alert(payload)]))
    for tag in ("<img", "<a ", "<script", "<iframe", 'javascript:alert(1)"', "<code", "<h1"):
        assert tag not in shown
    sent: list[Message] = []
    AlertLimit(sent.append).send([alert(payload)])
    assert not set("<>@[]`") & set(f"{sent[0].title}{sent[0].text}".replace("->", ""))
    assert "://" not in sent[0].text
    latent = LatentReport(Level.RED, {"information": 0.0}, {})
    caplog.set_level(logging.INFO, "collapse_logging")
    report = Report(7, 0, Level.RED, {payload: latent}, (alert(payload),))
    LogWriter().write(report)
    for message in [*caplog.messages, sent[0].title, sent[0].text]:
        assert all(letter.isprintable() for letter in message.replace("\n", ""))
    assert not any(line.startswith("ERROR") for m in caplog.messages for line in m.splitlines())


def test_a_page_shows_names_as_they_are(tmp_path: Path) -> None:
    """The report's page escapes them, has no script, and loads nothing from elsewhere."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"
    drive([LedgerWriter(folder)], latents=tuple(PAYLOADS))
    assert main(["report", str(folder)]) == 0
    page = (folder / "collapse_report.html").read_text()
    for tag in ("<script", "<iframe", "<a ", "onerror=alert(1)>", "<img src=x"):
        assert tag not in page
    assert "default-src 'none'" in page
    for payload in PAYLOADS:
        kept = "".join(c if c.isprintable() else " " for c in " ".join(payload.split()))
        assert html.escape(kept) in page


# --- secrets ---

SECRETS = {"WANDB_API_KEY": "5ecret" * 6 + "abcd", "MY_TOKEN": "t0ken-in-the-environment"}


class Hyperparameters:
    """What a user's model may carry along."""

    password = "hunter2-in-the-hyperparameters"


def test_no_secret_reaches_a_tracker_or_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Environment, hyperparameters and the user's folders are in nothing that we hand on."""
    wandb = pytest.importorskip("wandb")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "home-of-alice" / "run"
    folder.mkdir(parents=True)
    settings = wandb.Settings(silent=True, console="off")
    run = wandb.init(project="test", mode="offline", dir=str(tmp_path), settings=settings)
    given: list[object] = []
    keep = KeepLastHealthy(lambda path: path.write_bytes(b"model"), folder, every=1)
    from collapse_logging.writers import WandbWriter

    model = Hyperparameters()
    drive(
        [TensorBoardWriter(folder), LedgerWriter(folder), WandbWriter(run)],
        responses=[keep, given.append],
        log_dir=folder,
        probe=lambda batch: model,
        strict=False,
    )
    file = Path(run.settings.sync_file)
    run.finish()
    from tests.lightning.readers import wandb_records

    told = [f"{r.alert} {r.history} {r.config} {r.summary}" for r in wandb_records(file)]
    told += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    told += [f"{a.title} {a.text} {dataclasses.asdict(a)}" for a in given]
    told += [record.getMessage() for record in caplog.records if "💾" not in record.getMessage()]
    assert len(given) == 3
    for text in told:
        for secret in (*SECRETS.values(), Hyperparameters.password, "home-of-alice"):
            assert secret not in text
    assert any("model_before_collapse_step_" in text for text in told)


# --- data stays data ---

FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "execfile",
    "pickle.load", "pickle.loads", "marshal.load", "marshal.loads", "shelve.open", "dill.load",
    "os.system", "os.popen", "yaml.load", "yaml.full_load", "yaml.unsafe_load",
    "importlib.import_module", "importlib.__import__", "runpy.run_path", "runpy.run_module",
    "numpy.load", "np.load", "joblib.load",
}  # fmt: skip
ALLOWED_CALLS = {
    ("on_demand", "importlib.import_module"),  # of its own public names
    ("words", "importlib.import_module"),  # of two languages
    ("namespaces", "importlib.import_module"),  # two names, written there
    ("commands.model", "importlib.import_module"),  # doctor --model: the name that the user typed
}


def dangerous(source: str) -> set[str]:
    """Calls that make code of data; ``torch.load`` unless it says ``weights_only=True``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        safe = any(
            k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords
        )
        shell = any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords)
        if name in FORBIDDEN_CALLS or shell or (name.endswith("torch.load") and not safe):
            found.add(name)
    return found


@pytest.mark.parametrize(("name", "source"), SOURCES.items(), ids=SOURCES)
def test_nothing_makes_code_of_data(name: str, source: str) -> None:
    """No eval, no pickle, no import by a string that does not stand in the source."""
    assert {(name, call) for call in dangerous(source)} <= ALLOWED_CALLS


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "def f():\n    return __import__(x)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(x, shell=True)",
        "importlib.import_module(state['class'])",
        "yaml.full_load(text)",
    ],
)
def test_that_gate_can_close(source: str) -> None:
    """Each kind is found; a regular expression's compile and a safe load are not."""
    assert dangerous(source)
    assert not dangerous("re.compile(x); torch.load(p, weights_only=True); model.eval()")


def test_versions_whose_loading_is_not_safe_are_not_allowed() -> None:
    """Below 2.10 and 2.6.6 torch and pytorch-lightning run code of a checkpoint."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"] + setup["options.extras_require"]["lightning"]
    found = [Requirement(line) for line in lines.splitlines() if line and line[0] != "#"]
    allowed = {requirement.name: requirement.specifier for requirement in found}
    assert not allowed["torch"].contains("2.9.9")
    assert allowed["torch"].contains("2.10.0")
    assert not allowed["pytorch-lightning"].contains("2.6.5")
    assert allowed["pytorch-lightning"].contains("2.6.6")


EVIL = """
trainer:
  max_steps: 1
model: !!python/object/apply:os.system ["touch {trace}"]
"""


def test_a_config_runs_no_code(tmp_path: Path) -> None:
    """A YAML file with a Python tag is refused, and what it asked for was not done."""
    pytest.importorskip("jsonargparse")
    (tmp_path / "evil.yaml").write_text(EVIL.format(trace=tmp_path / "trace"))
    done = subprocess.run(
        [sys.executable, "-m", "collapse_logging", "fit", "--config", "evil.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "python/object/apply" in done.stderr
    assert not (tmp_path / "trace").exists()


def test_a_ledger_runs_no_code(tmp_path: Path) -> None:
    """What a ledger says is numbers and texts, whatever is written there."""
    line = {"type": "report", "__class__": "os.system", "step": "__import__('os').system('x')"}
    (tmp_path / "collapse_ledger.jsonl").write_text(json.dumps(line) + "\n")
    with contextlib.suppress(SystemExit):
        assert main(["check", str(tmp_path)]) == 2


def test_the_monitor_makes_no_folder_of_a_name(tmp_path: Path) -> None:
    """Only the folder that it was told is made, and only with the first check."""
    monitor = CollapseMonitor(log_dir=tmp_path / "log", verbose=False)
    monitor.close()
    assert tree(tmp_path) == set()
