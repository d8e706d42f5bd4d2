"""The main promise, on real data: the healthy run is left alone, the other is red early."""

from __future__ import annotations

import pytest
import torch

from collapse_logging import CollapseMonitor, Level
from collapse_logging.training.data import batches, digits
from collapse_logging.training.vae import VAE
from collapse_logging.writers import MemoryWriter


def levels(reduction: str, seed: int, rules: str) -> list[tuple[int, Level]]:
    """Step and level of each check of 600 steps on the digits."""
    torch.manual_seed(seed)
    model = VAE(reduction=reduction)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    memory = MemoryWriter()
    with CollapseMonitor([memory], rules=rules, verbose=False, strict=True) as monitor:
        monitor.watch(model, "encoder")
        for x in batches(digits(), 128, 600, seed):
            loss, reconstruction = model(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(reconstruction_loss=reconstruction)
    return [(report.step, report.level) for report in memory.reports]


@pytest.mark.parametrize("rules", ["default", "fast"])
@pytest.mark.parametrize("seed", range(5))
def test_the_healthy_run_ends_ok_and_is_never_red(seed: int, rules: str) -> None:
    """Summed reconstruction loss: no check is worse than yellow, the last is OK."""
    found = [level for _, level in levels("sum", seed, rules)]
    assert max(found) <= Level.YELLOW
    assert found[-1] is Level.OK


@pytest.mark.parametrize("rules", ["default", "fast"])
@pytest.mark.parametrize("seed", range(5))
def test_the_collapsing_run_is_red_within_300_steps(seed: int, rules: str) -> None:
    """Averaged reconstruction loss: red within 300 steps of the first, and it stays red."""
    found = levels("mean", seed, rules)
    first = next(step for step, level in found if level is Level.RED)
    assert first <= 300
    assert all(level is Level.RED for step, level in found if step >= first)
