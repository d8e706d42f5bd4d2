"""Half precision: the posteriors are read in fp32 whatever the training computes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collapse_logging import CollapseMonitor, Level, PosteriorCollapseDetector, Report
from collapse_logging.training.vae import VAE
from collapse_logging.writers import MemoryWriter

from .parts import Core, loader, model, patterns, trainer


def plain(dtype: torch.dtype | None) -> list[Report]:
    """Sixty steps of a plain loop of a collapsing VAE, under autocast or not."""
    torch.manual_seed(0)
    vae = VAE(64, 32, 4, "mean")
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    memory = MemoryWriter()
    with CollapseMonitor([memory], check_frequency=10, verbose=False, strict=True) as monitor:
        monitor.watch(vae, {"z": "encoder"})
        for _ in range(60):
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                loss, _ = vae(patterns(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
    return memory.reports


def assert_read_in_full_precision(half: list[Report], full: list[Report]) -> None:
    """First check: the values of fp32 within a tenth. Last: as dead, and as red, as there."""
    assert half[-1].level is full[-1].level is Level.RED
    first, last = half[0].latents["z"].measures, half[-1].latents["z"].measures
    for name in ("kl", "information", "posterior_variance"):
        assert first[name] == pytest.approx(full[0].latents["z"].measures[name], rel=0.1)
    assert 0 < last["kl"] < 0.01
    assert last["growth"] < -2
    assert last["posterior_variance"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_a_plain_loop_under_autocast(dtype: torch.dtype) -> None:
    """bf16 arithmetic would make the KL near collapse many times too small."""
    assert_read_in_full_precision(plain(dtype), plain(None))


def test_a_trainer_of_bf16_mixed(pl: Any, tmp_path: Path) -> None:
    """``precision="bf16-mixed"``: the encoder gives bf16, the report is fp32's."""
    dtypes: set[torch.dtype] = set()

    class Looks(Core):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            with torch.no_grad():
                dtypes.add(self.vae.encoder(batch[0])[0].dtype)
            return super().training_step(batch, batch_idx)

    found = []
    for precision in ("32-true", "bf16-mixed"):
        memory = MemoryWriter()
        detector = PosteriorCollapseDetector(
            latents={"z": "vae.encoder"}, check_frequency=10, writers=[memory], verbose=False
        )
        run = trainer(pl, tmp_path, detector, precision=precision, max_steps=80)
        run.fit(model(pl, Looks, reduction="mean"), loader())
        found.append(memory.reports)
    assert dtypes == {torch.float32, torch.bfloat16}
    assert_read_in_full_precision(found[1], found[0])
