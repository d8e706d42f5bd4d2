"""What the callback can be told beside the posteriors: probe, beta, optional, language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from collapse_logging import Level, PosteriorCollapseDetector
from collapse_logging.writers import MemoryWriter

from .parts import Core, loader, model, trainer


class Told(Core):
    """Logs its beta, and can say the loss of each sample."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        """As the others, with beta logged."""
        self.log("beta", 1.0 + self.global_step)
        return super().training_step(batch, batch_idx)

    def per_sample(self, batch: list[Tensor]) -> Tensor:
        """Reconstruction loss of each sample, ``[batch]``."""
        mean, log_variance = self.vae.encoder(batch[0])
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        logits = self.vae.decoder(z)
        return F.binary_cross_entropy_with_logits(logits, batch[0], reduction="none").sum(1)


def detector(**options: Any) -> tuple[PosteriorCollapseDetector, MemoryWriter]:
    """A quiet detector that checks every five steps, and the memory that it writes to."""
    memory = MemoryWriter()
    settings = {"latents": {"z": "vae.encoder"}, "check_frequency": 5, "verbose": False}
    return PosteriorCollapseDetector(writers=[memory], **settings, **options), memory


@pytest.mark.parametrize("named", [True, False])
def test_the_decoder_is_probed(pl: Any, tmp_path: Path, named: bool) -> None:
    """By the name of the module's method or by a callable; a used latent has a clear gap."""
    module = model(pl, Told)
    callback, memory = detector(probe="per_sample" if named else module.per_sample)
    trainer(pl, tmp_path, callback).fit(module, loader())
    probed = [r.latents["z"].measures for r in memory.reports]
    probed = [values for values in probed if "decoder_gap" in values]
    assert probed
    assert probed[-1]["decoder_gap"] > 3.0 * probed[-1]["decoder_gap_error"] > 0.0


def test_a_probe_changes_no_parameter(pl: Any, tmp_path: Path) -> None:
    """Parameters after a training with dropout are bit for bit those without a detector."""
    plain, watched = model(pl, Told, dropout=0.2), model(pl, Told, dropout=0.2)
    torch.manual_seed(3)
    trainer(pl, tmp_path).fit(plain, loader())
    torch.manual_seed(3)
    trainer(pl, tmp_path, detector(probe="per_sample")[0]).fit(watched, loader())
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_probe_that_the_module_does_not_have(pl: Any, tmp_path: Path) -> None:
    """Told at the start of training, with the nearest name."""
    callback, _ = detector(probe="per_sampel")
    with pytest.raises(ValueError, match="got 'per_sampel'. Did you mean 'per_sample'"):
        trainer(pl, tmp_path, callback).fit(model(pl, Told), loader())


@pytest.mark.parametrize(
    ("beta", "last"), [("beta", 60.0), (0.25, 0.25), (lambda step: step / 2.0, 29.5)]
)
def test_beta_is_known(pl: Any, tmp_path: Path, beta: Any, last: float) -> None:
    """As logged, as a number, as a function of the step: it is a measure of the run."""
    callback, memory = detector(beta=beta)
    fit = trainer(pl, tmp_path, callback)
    fit.fit(model(pl, Told), loader())
    assert memory.reports[-1].step == 59
    assert memory.reports[-1].measures["beta"] == last
    assert float(fit.callback_metrics["collapse/beta"]) == last


def test_an_optional_latent_is_shown_and_ignored(pl: Any, tmp_path: Path) -> None:
    """Its level is red, the run's is not, and no checkpoint is written for it."""
    memory, asked = MemoryWriter(), []
    callback = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=5, writers=[memory], verbose=False,
        optional=["z"], responses=[asked.append], log_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    trainer(pl, tmp_path, callback).fit(model(pl, Told, reduction="mean"), loader())
    assert memory.reports[-1].latents["z"].level is Level.RED
    assert memory.reports[-1].level is Level.OK
    assert memory.alerts
    assert all(alert.optional for alert in memory.alerts)
    assert asked == []
    assert not list((tmp_path / "logs").glob("*.ckpt"))


def test_alerts_in_chinese(pl: Any, tmp_path: Path, log: Any) -> None:
    """Alerts and the verdict come in the language that was asked for."""
    callback, memory = detector(language="zh")
    callback.verbose = True
    trainer(pl, tmp_path, callback).fit(model(pl, Told, reduction="mean"), loader())
    assert "后验塌缩" in memory.alerts[-1].text
    assert "结论" in log.text


def test_a_language_without_a_catalogue() -> None:
    """Told at once, with those that there are."""
    with pytest.raises(ValueError, match="language: expected one of"):
        PosteriorCollapseDetector(language="fr")
