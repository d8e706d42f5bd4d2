"""Which module gives the latent: named, found, or told in an error that can be pasted."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from collapse_logging import PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter

from .parts import Core, hooks, loader, model, trainer


class Head(nn.Module):
    """Gives ``(mean, log_variance)``."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Two times ``[batch, 4]``."""
        return self.both(x).chunk(2, 1)


class TwoHeads(Core):
    """Two modules that could be meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.vae = nn.ModuleDict({"top": Head(), "bottom": Head()})

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Pulls both to the prior."""
        moments = [head(batch[0]) for head in self.vae.values()]
        return sum(m.square().sum() + v.square().sum() for m, v in moments)


class OneList(TwoHeads):
    """The manual's convention, with one latent."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Keeps ``(z, mean, log_variance)``."""
        mean, log_variance = self.vae["top"](batch[0])
        self._last_z_list = [(mean, mean, log_variance)]
        return mean.square().sum() + log_variance.square().sum()


class NoPosterior(Core):
    """An autoencoder: no module gives a posterior."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Uses the body alone."""
        return self.vae.encoder.body(batch[0]).square().sum()


def fit(pl: Any, folder: Path, core: type[Core], latents: Any, **options: Any) -> MemoryWriter:
    """Ten steps with these latents."""
    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents=latents, check_frequency=10, writers=[memory], verbose=False
    )
    one = model(pl, core)
    try:
        trainer(pl, folder, detector, max_steps=10, **options).fit(one, loader())
    finally:
        assert hooks(one) == 0
    return memory


def test_the_list_of_one_is_z(pl: Any, tmp_path: Path) -> None:
    """``_last_z_list`` with one entry is the latent ``z``; it is read once a step."""
    (report,) = fit(pl, tmp_path, OneList, None).reports
    assert list(report.latents) == ["z"]
    assert report.latents["z"].measures["samples"] == 640
    assert "growth" in report.latents["z"].measures


@pytest.mark.parametrize(
    ("latents", "names"),
    [
        ("vae.top", ["vae.top"]),
        (["vae.top", "vae.bottom"], ["vae.top", "vae.bottom"]),
        ({"high": "vae.top", "low": "vae.bottom"}, ["high", "low"]),
    ],
)
def test_a_path_a_list_and_a_mapping(
    pl: Any, tmp_path: Path, latents: Any, names: list[str]
) -> None:
    """Each form names the latents of the report."""
    (report,) = fit(pl, tmp_path, TwoHeads, latents).reports
    assert list(report.latents) == names
    assert all(latent.measures["samples"] == 640 for latent in report.latents.values())


def test_several_candidates_are_told_in_a_form_to_paste(pl: Any, tmp_path: Path) -> None:
    """What the error says after ``latents=`` works when it is pasted."""
    with pytest.raises(ValueError, match="2 modules give a posterior") as error:
        fit(pl, tmp_path, TwoHeads, None)
    pasted = ast.literal_eval(re.search(r"latents=(\[.*?\])", str(error.value)).group(1))
    assert pasted == ["vae.top", "vae.bottom"]
    assert len(fit(pl, tmp_path, TwoHeads, pasted).reports) == 1


def test_no_candidate_is_told_with_what_could_be(pl: Any, tmp_path: Path) -> None:
    """No posterior anywhere: an error in the first step that names likely modules."""
    with pytest.raises(ValueError, match="no module of the model returned") as error:
        fit(pl, tmp_path, NoPosterior, None)
    assert "latents='vae.encoder'" in str(error.value)


def test_an_unknown_path_ends_before_the_first_forward(pl: Any, tmp_path: Path) -> None:
    """Neither the sanity check nor a training step has run; nothing was written."""

    class Counts(Core):
        forwards = 0

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            Counts.forwards += 1
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            Counts.forwards += 1

    detector = PosteriorCollapseDetector(latents=["vae.encoder", "vae.encodre"], verbose=False)
    one = model(pl, Counts)
    with pytest.raises(ValueError, match=r"no module 'vae.encodre'.*latents='vae.encoder'"):
        trainer(pl, tmp_path, detector).fit(one, loader(), loader())
    assert Counts.forwards == 0
    assert hooks(one) == 0
    assert not list(tmp_path.iterdir())


def test_a_module_that_gives_no_posterior_is_told(pl: Any, tmp_path: Path) -> None:
    """The path exists and gives one tensor: what was expected, what came."""
    with pytest.raises(TypeError, match=r"to return \(mean, log_variance\).*got one tensor"):
        fit(pl, tmp_path, Core, {"z": "vae.encoder.body"})


def test_a_dry_run_finds_the_mistake(pl: Any, tmp_path: Path) -> None:
    """fast_dev_run is for this: it raises what the real run would."""
    with pytest.raises(ValueError, match="2 modules give a posterior"):
        fit(pl, tmp_path, TwoHeads, None, fast_dev_run=True)


@pytest.mark.filterwarnings("ignore:.*in eval mode at the start.*")  # here it is meant
def test_the_model_stays_as_it_was(pl: Any, tmp_path: Path) -> None:
    """Nothing of ours in the state_dict, the buffers or the modes of the modules."""
    one = model(pl, dropout=0.1)
    one.vae.encoder.body.eval()  # frozen by the user
    before = list(one.state_dict())
    detector = PosteriorCollapseDetector(latents="vae.encoder", check_frequency=5, verbose=False)
    seen: list[tuple[list[str], bool]] = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            seen.append((list(module.state_dict()), module.vae.encoder.body.training))

    trainer(pl, tmp_path, detector, Look(), max_steps=10).fit(one, loader())
    assert seen == [(before, False)] * 10
    assert not list(one.buffers())
    assert all(torch.isfinite(parameter).all() for parameter in one.parameters())
