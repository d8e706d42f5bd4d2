"""``COLLAPSE_LOGGING=1``: a detector in a training whose script does not know of it."""

from __future__ import annotations

import configparser
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from collapse_logging import PosteriorCollapseDetector, automatic
from collapse_logging.attach import Attach
from collapse_logging.forms import split_form

from .parts import Core, hooks, loader, model
from .test_found import NoPosterior, TwoHeads

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry points of setup.cfg are known, also where an older install does not have them."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    points = setup["options.entry_points"]
    text = "".join(f"[{group}]\n{lines.strip()}\n" for group, lines in points.items())
    about = tmp_path / "site" / "collapse_logging-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: collapse-logging\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(about.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(automatic.VARIABLE, raising=False)


def a_trainer(pl: Any, folder: Path, callbacks: list[Any] | None = None, **options: Any) -> Any:
    """As a script makes it, that knows nothing of us."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return pl.Trainer(
        callbacks=callbacks,
        default_root_dir=folder,
        accelerator="cpu",
        **{"max_steps": 60, "enable_checkpointing": False, **quiet, **options},
    )


def detectors(trainer: Any) -> list[PosteriorCollapseDetector]:
    """Those that the Trainer has."""
    return [c for c in trainer.callbacks if isinstance(c, PosteriorCollapseDetector)]


def ours(trainer: Any) -> list[Any]:
    """All callbacks of the package."""
    return [c for c in trainer.callbacks if type(c).__module__.startswith("collapse_logging")]


@pytest.mark.parametrize("value", [None, "", "0", "off", "False"])
def test_off(pl: Any, value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is added unless it is asked for."""
    if value is not None:
        monkeypatch.setenv(automatic.VARIABLE, value)
    assert ours(a_trainer(pl, tmp_path)) == []


def test_on(pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Any) -> None:
    """One detector finds the latent and says so, and a second fit has the same one."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    trainer, one = a_trainer(pl, tmp_path), model(pl, Core)
    trainer.fit(one, loader())
    (detector,) = detectors(trainer)
    assert list(detector.report.latents) == ["vae.encoder"]
    assert trainer.global_step == 60
    assert hooks(one) == 0
    assert list(tmp_path.glob("collapse_logs/collapse_ledger.jsonl"))
    assert len([m for m in log.messages if "latents='auto': watching ['vae.encoder']" in m]) == 1
    trainer.fit_loop.epoch_loop.max_steps = 70
    trainer.fit(one, loader())
    assert detectors(trainer) == [detector]
    assert [type(c) for c in ours(trainer)] == [PosteriorCollapseDetector]


def test_before_the_checkpoints(pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands where Lightning wants it: ModelCheckpoint comes last, and may monitor it."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    saved = pl.callbacks.ModelCheckpoint(tmp_path, monitor="collapse/level", every_n_train_steps=56)
    trainer = a_trainer(pl, tmp_path, [saved], enable_checkpointing=True)
    trainer.fit(model(pl, Core), loader())
    assert trainer.callbacks[-1] is saved
    state = saved.best_model_path
    assert state
    same = pl.callbacks.ModelCheckpoint(tmp_path, monitor="collapse/level", every_n_train_steps=56)
    again = a_trainer(pl, tmp_path, [same], max_steps=110, enable_checkpointing=True)
    again.fit(model(pl, Core), loader(), ckpt_path=state)
    (detector,) = detectors(again)
    assert detector.report.check == 2  # the first check was in the run before


def test_not_beside_the_scripts_own(
    pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    """A script that has a detector keeps that one alone."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    own = PosteriorCollapseDetector(latents="vae.encoder", check_frequency=10, verbose=False)
    trainer = a_trainer(pl, tmp_path, [own], max_steps=20)
    trainer.fit(model(pl, Core), loader())
    assert ours(trainer) == [own]
    assert own.report.check == 1
    assert not [message for message in log.messages if "auto" in message]


def test_a_list_that_is_used_again(
    pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning adds to the script's own list; every Trainer has one detector, its own."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    shared: list[Any] = [pl.callbacks.Timer()]
    found = []
    for _ in range(2):
        trainer = a_trainer(pl, tmp_path, shared, max_steps=50)
        trainer.fit(model(pl, Core), loader())
        found += detectors(trainer)
        assert len(ours(trainer)) == 1
    assert len(set(map(id, found))) == 2
    assert not [callback for callback in shared if isinstance(callback, PosteriorCollapseDetector)]


def test_validation_alone(pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a training nothing is watched; a training that follows is."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    trainer, one = a_trainer(pl, tmp_path, max_steps=50), model(pl, Core)
    one.validation_step = lambda batch, batch_idx: None
    trainer.validate(one, loader(), verbose=False)
    del one.validation_step
    assert detectors(trainer) == []
    trainer.fit(one, loader())
    assert len(detectors(trainer)) == 1


def test_a_model_without_a_posterior(
    pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    """It trains to its end, with one warning, and no verdict of a health that nobody knows."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    trainer = a_trainer(pl, tmp_path, max_steps=150)
    trainer.fit(model(pl, NoPosterior), loader())
    assert trainer.global_step == 150
    (told,) = log.messages
    assert "nothing is watched, and training goes on. latents: no module" in told
    assert not [name for name in trainer.callback_metrics if "collapse" in name]


def test_several_latents(pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are watched."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    trainer = a_trainer(pl, tmp_path, max_steps=50)
    trainer.fit(model(pl, TwoHeads), loader())
    assert list(detectors(trainer)[0].report.latents) == ["vae.top", "vae.bottom"]


def test_a_file(pl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Any) -> None:
    """A YAML file holds the callback's arguments, objects by class_path too."""
    (tmp_path / "watch.yaml").write_text(
        "latents: {z: 'vae.encoder as mean, log_variance'}\ncheck_frequency: 10\nname: health\n"
        "verbose: false\nwriters:\n- class_path: collapse_logging.writers.MemoryWriter\n"
        "rules:\n  class_path: collapse_logging.Rules\n  init_args: {var_threshold: 0.02}\n"
    )
    monkeypatch.setenv(automatic.VARIABLE, "watch.yaml")
    trainer = a_trainer(pl, tmp_path, max_steps=20)
    trainer.fit(model(pl, Core), loader())
    (detector,) = detectors(trainer)
    assert (detector.name, detector.check_frequency) == ("health", 10)
    assert detector.rules.var_threshold == 0.02
    assert list(detector.report.latents) == ["z"]
    assert log.messages == []


@pytest.mark.parametrize(
    ("value", "content", "told"),
    [
        (
            "yes please",
            None,
            r"expected 1, 0 or a YAML file .*got 'yes please'.*COLLAPSE_LOGGING=1",
        ),
        ("lost.yaml", None, r"got 'lost.yaml', which is no file in"),
        ("a.yaml", "kl_treshold: 0.1", "expected in a.yaml the arguments .*kl_treshold"),
        ("a.yaml", "check_frequency: often", "expected in a.yaml the arguments .*check_frequency"),
        ("a.yaml", "latents: [", "expected in a.yaml the arguments"),
        ("a.yaml", "rules: slow", r"rules: expected one of .*'default'.*got 'slow'"),
        ("a.yaml", "latents: enc as nothing", "latents: expected after 'as'"),
    ],
)
def test_a_mistake_is_told_when_the_trainer_is_made(
    value: str, content: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not hours later, and as one error that says what is expected."""
    if content is not None:
        (tmp_path / "a.yaml").write_text(content)
    monkeypatch.setenv(automatic.VARIABLE, value)
    with pytest.raises(ValueError, match=f"(?s){told}") as raised:
        automatic.callbacks()
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_what_is_added_is_told(pl: Any, tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    """By Lightning itself, at INFO."""
    monkeypatch.setenv(automatic.VARIABLE, "1")
    caplog.set_level(logging.INFO)
    (attached,) = ours(a_trainer(pl, tmp_path))
    assert isinstance(attached, Attach)
    assert "Attach" in caplog.text


PAGE = (ROOT / "docs/recipes/no_code.md").read_text(encoding="utf-8")


def test_the_pages_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The YAML of docs/recipes/no_code.md, as it stands."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "collapse.yaml").write_text(block)
    monkeypatch.setenv(automatic.VARIABLE, "collapse.yaml")
    (attached,) = automatic.callbacks()
    assert attached._arguments["latents"] == {"z": "model.encoder as mean, scale"}
    assert attached._arguments["stop_on_collapse"] is True


def test_the_pages_forms_can_be_said() -> None:
    """Every ``path as form`` of the page is one."""
    said = re.findall(r"`([\w.]+ as [^`]+)`", PAGE)
    assert len(said) >= 6
    assert all(split_form(text)[1] is not None for text in said)
