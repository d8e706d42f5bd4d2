"""Every recipe runs as it stands, and tells a healthy run from a collapse in that library."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from collapse_logging import Level
from tests.lightning.readers import events

ROOT = Path(__file__).parent.parent.parent
RECIPES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs/recipes").glob("*.md")}
PYTHON = {
    name: block
    for name, text in RECIPES.items()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
}
LIBRARIES = {"compile": "torch", "pythae_codebook": "pythae"}
"""Whose name is not the recipe's."""

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # other people's libraries talk, about each other too
    pytest.mark.usefixtures("alone"),
]


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLLAPSE_LOGGING", raising=False)


def run(name: str, collapse: bool) -> dict[str, Any]:
    """What is defined after a recipe, as it stands or with what it calls a collapse."""
    library = LIBRARIES.get(name, name)
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed; make integrations has it")
    code = PYTHON[name]
    if collapse:
        code, changed = re.subn(r"= [\d.]+  # ([\d.]+) is a collapse", r"= \1", code)
        assert changed == 1
    ran: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, f"docs/recipes/{name}.md", "exec"), ran)
    return ran


@pytest.mark.parametrize("name", PYTHON)
def test_a_healthy_run_is_healthy(name: str) -> None:
    """The latent carries information, and no check was red."""
    ran = run(name, collapse=False)
    (latent,) = ran["report"].latents.values()
    assert ran["report"].level is Level.OK
    assert latent.measures["information"] > 1.0
    assert "growth" in latent.measures or name == "pythae_codebook"


@pytest.mark.parametrize("name", PYTHON)
def test_a_collapse_is_red(name: str) -> None:
    """With the one constant changed, in the same library, nothing else."""
    ran = run(name, collapse=True)
    assert ran["report"].level is Level.RED


def test_ours_are_ten_lines_at_most() -> None:
    """Lines that name what is ours, its data aside."""
    ours = r"monitor|detector|callback=|callback =|Collapse|collapse_logging(?!\.training)|writers"
    for name, code in PYTHON.items():
        lines = [line for line in code.splitlines() if re.search(ours, line)]
        assert 2 <= len(lines) <= 10, (name, lines)


def test_the_trainers_own_curves_are_beside_ours() -> None:
    """Transformers' loss and our level are in one event folder."""
    run("transformers", collapse=False)
    (folder,) = Path("runs/transformers/runs").iterdir()
    tags = events(folder).Tags()["scalars"]
    assert {"collapse/level", "collapse/vae.encoder/information"} <= set(tags)
    assert "train/train_loss" in tags
    assert Path("runs/transformers/collapse/collapse_ledger.jsonl").exists()


def test_transformers_is_stopped() -> None:
    """After as many red checks as were asked for."""
    pytest.importorskip("transformers", reason="make integrations has it")
    code = PYTHON["transformers"].replace(
        "check_frequency=20", "check_frequency=20, stop_on_collapse=2"
    )
    code = code.replace("BETA = 1.0", "BETA = 60.0").replace("max_steps=200", "max_steps=2000")
    ran: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "docs/recipes/transformers.md", "exec"), ran)
    assert ran["report"].level is Level.RED
    assert ran["report"].step < 500


def test_scvi_without_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """``COLLAPSE_LOGGING=1`` reaches the Trainer that scvi-tools makes, by the entry point."""
    pytest.importorskip("scvi", reason="make integrations has it")
    from collapse_logging import PosteriorCollapseDetector

    monkeypatch.setenv("COLLAPSE_LOGGING", "1")
    code = PYTHON["scvi"].replace("    callbacks=[detector],\n", "")
    code = code.replace("report = detector.report", "trainer = model.trainer").split("print(")[0]
    ran: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "docs/recipes/scvi.md", "exec"), ran)
    found = [c for c in ran["trainer"].callbacks if isinstance(c, PosteriorCollapseDetector)]
    assert [list(detector.report.latents) for detector in found] == [["module.z_encoder"]]
