"""Discrete latents on several ranks: one sum, one verdict, also where a rank saw none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collapse_logging import Codebook, CollapseMonitor
from collapse_logging.families import Categorical

from .processes import on_ranks


def codes(rank: int, step: int) -> torch.Tensor:
    """Each rank picks from its own half of sixteen codes."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randint(8, (64, 3), generator=generator) + 8 * rank


def observing(rank: int) -> dict[str, Any]:
    """A codebook on both ranks, a categorical latent on one alone, beside a Gaussian one."""
    monitor = CollapseMonitor(verbose=False, check_frequency=4, observe_every=1)
    for step in range(8):
        monitor.observe("codes", Codebook(codes(rank, step), 16))
        monitor.observe("gauss", torch.randn(8, 2), torch.zeros(8, 2))
        if rank == 0:
            monitor.observe("some", Categorical(torch.eye(8)))
        report = monitor.step()
    return {name: dict(latent.measures) for name, latent in report.latents.items()}


def test_ranks_see_all_codes_together(tmp_path: Path) -> None:
    """Each rank alone would call half of the codes dead."""
    (one, told), (other, _) = on_ranks(observing, 2, tmp_path)
    assert told == []
    assert one == other
    assert one["codes"]["samples"] == 2 * 4 * 64 * 3
    assert one["codes"]["usage"] == pytest.approx(1.0)
    assert one["codes"]["perplexity"] == pytest.approx(16.0, rel=0.01)
    assert one["some"]["samples"] == 32.0
    assert one["gauss"]["samples"] == 64.0


def different_kinds(rank: int) -> Any:
    """One name, a codebook here and a Gaussian there."""
    monitor = CollapseMonitor(verbose=False, check_frequency=2, observe_every=1)
    for step in range(4):
        if rank:
            monitor.observe("z", torch.randn(8, 1), torch.zeros(8, 1))
        else:
            monitor.observe("z", Codebook(codes(rank, step), 16))
        report = monitor.step()
    return dict(report.latents["z"].measures)


def test_different_kinds_are_told(tmp_path: Path) -> None:
    """The first rank's kind counts, and no collective of another length is started."""
    for measures, told in on_ranks(different_kinds, 2, tmp_path):
        assert measures["samples"] == 2 * 64 * 3
        assert "Codebook" in told[0]
