"""``doctor``: why is nothing shown?"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from collapse_logging.cli import main
from collapse_logging.writers import TensorBoardWriter
from tests.recorded import collapsed

MODELS = '''
import torch
from torch import nn
import pytorch_lightning as pl
from tests.parts import VAE, Twin, Encoder

class Listed(VAE):
    """Keeps the manual's list and returns one tensor."""
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 6)
    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        self._last_z_list = [(mean, mean, log_variance)]
        return mean

class Text(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embed = nn.Embedding(words, 6)
        self.encoder = Encoder()
    def forward(self, tokens):
        return self.encoder(self.embed(tokens).mean(1))[0]

class Detached(VAE):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)

class WithExample(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.vae = VAE()
        self.example_input_array = torch.zeros(2, 6)
    def forward(self, x):
        return self.vae(x)[0]

class Root(nn.Module):
    """Returns the moments themselves."""
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)
    def forward(self, x):
        return self.layer(x).chunk(2, -1)

def Sequential():
    return nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 6))

def make():
    return VAE(units=2)

def broken():
    raise RuntimeError("no data")

def number():
    return 7
'''


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of models in the working folder, imported by the name that is typed."""
    pytest.importorskip("pytorch_lightning")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", __import__("sys").path[:])
    name = f"models_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODELS)
    return name


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code and what was printed."""
    code = main(["doctor", *map(str, arguments)])
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, printed.out


@pytest.mark.parametrize(
    ("model", "arguments", "code", "said"),
    [
        ("VAE", "--input-shape 6", 0, "PosteriorCollapseDetector(latents='encoder')"),
        ("VAE", "--input-shape 6", 0, "latent 'encoder': mean and log_variance [8, 3]."),
        ("make", "--input-shape 6", 0, "latent 'encoder': mean and log_variance [8, 2]."),
        ("VAE", '--input-shape 5 --init {"inputs":5}', 0, "ran on [8, 5]"),
        ("VAE", "--latents encoder --input-shape 6", 0, "monitor.watch(model, 'encoder')"),
        ("VAE", "--latents encodr --input-shape 6", 2, "Did you mean latents='encoder'?"),
        ("VAE", "--latents decoder --input-shape 6", 2, "expected its module to return (mean"),
        ("VAE", "", 0, "give --input-shape"),
        ("VAE", "--input-shape 4", 2, "raised RuntimeError: mat1 and mat2"),
        ("Twin", "--input-shape 6", 2, "latents=['encoder_a', 'encoder_b', ''] for all"),
        ("Twin", "--latents encoder_a encoder_b --input-shape 6", 0, "'encoder_a', 'encoder_b'])"),
        ("Listed", "--input-shape 6", 0, "read from its _last_z_list"),
        ("Text", '--init {"words":9} --tokens 9 --input-shape 7', 0, "ran on [8, 7]"),
        ("WithExample", "", 0, "PosteriorCollapseDetector(latents='vae.encoder')"),
        ("Detached", "--input-shape 6", 2, "its mean has no gradient"),
        ("Root", "--input-shape 6", 0, "read from what the model itself returns"),
        ("Sequential", "--input-shape 6", 2, "no module of the model returned"),
        ("Encodr", "--input-shape 6", 2, "'Encoder'"),
        ("broken", "--input-shape 6", 2, "raised RuntimeError: no data"),
        ("number", "--input-shape 6", 2, "gave a int, not a torch.nn.Module"),
    ],
)
def test_a_model_is_told_what_can_be_watched(
    models: str,
    model: str,
    arguments: str,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The capture of the training itself is run on a forward, and its words are shown."""
    found, text = ask(capsys, "--model", f"{models}:{model}", *arguments.split())
    assert said in text
    assert found == code
    assert ("NO  " in text) == (code == 2)


def test_candidates_are_named_before_a_forward(
    models: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What sounds like a posterior, and whether the manual's list is there."""
    _, text = ask(capsys, "--model", f"{models}:VAE")
    assert "'encoder', 'encoder.moments'" in text
    assert "_last_z_list: not there" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a PATH or --model"),
        (["x", "--model", "a:b"], "expected a PATH or --model"),
        (["--model", "a:b", "--init", "{"], "--init: expected a JSON object"),
        (["--model", "a:b", "--init", "[1]"], "--init: expected a JSON object such as"),
        (["--model", "a:b", "--input-shape", "1,x"], "--input-shape: expected numbers such as"),
        (["--model", "a:b", "--tokens", "0"], "--tokens: expected an integer of at least 1"),
    ],
)
def test_malformed_arguments_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, exit code 2."""
    assert main(["doctor", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("spec", ["models.py:VAE", "models", ":VAE", "no_such_module:VAE"])
def test_a_model_that_cannot_be_imported_is_said(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was expected."""
    code, text = ask(capsys, "--model", spec)
    assert code == 2
    assert "expected MODULE:CLASS" in text or "No module named 'no_such_module'" in text


def test_a_good_folder_has_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in it, how far it is, and how to look at it."""
    collapsed(tmp_path / "run", TensorBoardWriter(tmp_path / "run"))
    code, text = ask(capsys, tmp_path)
    assert code == 0
    assert "ledgers 1, folders with event files 1." in text
    assert len(re.findall(r"step 60, 12 checks, \d alerts?, collapsed\.", text)) == 2
    assert f"tensorboard --logdir {tmp_path}" in text
    assert "NO" not in text


def test_a_wrong_folder_is_told_where_records_are(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is nearly right, a folder that is empty beside one that is not."""
    code, text = ask(capsys, "sweap")
    assert code == 2
    assert "sweap is not there." in text
    assert f"did you mean {Path.cwd() / 'sweep'}?" in text
    Path("empty").mkdir()
    code, text = ask(capsys, "empty")
    assert code == 2
    assert "nothing in it is from a detector" in text
    assert str(Path.cwd() / "sweep" / "a_collapsed") in text


def test_event_files_without_a_detectors_tags_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the tags that are there, and where the detector belongs."""
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("train/loss", 1.0, 1)
    code, text = ask(capsys, tmp_path)
    assert code == 2
    assert "1 scalar tag, none of a detector" in text
    assert "train/loss" in text
    assert "PosteriorCollapseDetector in the Trainer's callbacks" in text


def test_a_ledger_without_a_report_is_said(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the first report is to be expected."""
    code, text = ask(capsys, sweep / "d_begun")
    assert code == 2
    assert "no report" in text
    assert "after 50 steps" in text


def test_a_latent_that_is_not_observed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A monitor that is stepped but never fed writes checks of 0 samples."""
    ledger = tmp_path / "collapse_ledger.jsonl"
    ledger.write_text(
        '{"type":"settings"}\n{"type":"report","step":50,"check":0,"level":"OK","steps":50,'
        '"last_healthy_step":null,"measures":{},"latents":{},"alerts":[]}\n'
    )
    code, text = ask(capsys, tmp_path)
    assert code == 2
    assert "saw no sample" in text
    assert "train() mode" in text


def test_of_many_runs_the_newest_are_looked_into(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve runs, ten lines."""
    for i in range(7):
        shutil.copytree(sweep / "a_collapsed", sweep / f"copy_{i}")
    _, text = ask(capsys, sweep)
    assert "the newest 10 of 12 are looked into" in text
