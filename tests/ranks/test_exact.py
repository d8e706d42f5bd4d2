"""What several ranks report is what one process would that sees all the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from collapse_logging import CollapseMonitor, Report

from .processes import on_ranks

FREQUENCY, STEPS = 4, 12
OF_RANKS = ("mutual_information", "mutual_information_cap", "growth")
"""Means over ranks, or a t value over ranks times steps: not what one process has."""


def batch(name: str, rank: int, step: int) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """One rank's batch of a latent at a step: sizes, lengths and means differ between ranks."""
    rows = (7, 12, 0, 5)[rank] + step % 3 * (rank != 2)
    generator = torch.Generator().manual_seed(1000 * step + 10 * rank + len(name))
    shape = {
        "plain": (rows, 3),
        "plain too": (rows, 5),
        "positions": (rows, 2 + (rank + step) % 3, 2),
        "masked": (rows, 4, 2),
        "on one": (rows, 3),
        "late": (rows, 2),
        "nan": (rows, 2),
    }[name]
    if (name == "on one" and rank != 1) or (name == "late" and step < 5):
        return None
    mean = 3.0 + rank + 0.1 * step + torch.randn(shape, generator=generator)
    log_variance = -2.0 - rank + 0.3 * torch.randn(shape, generator=generator)
    mask = None
    if name == "masked":
        mask = torch.rand(shape[:2], generator=generator) > 0.3
    if name == "nan" and rank == 1 and step == 2:
        mean[0, 0] = torch.nan
    return mean, log_variance, mask


NAMES = ("plain", "positions", "masked", "plain too", "on one", "late", "nan")


def watched(ranks: range, extra: dict[str, Any]) -> list[Report]:
    """Reports of a monitor that sees these ranks' batches as micro-batches."""
    monitor = CollapseMonitor(check_frequency=FREQUENCY, verbose=False, strict=True, **extra)
    reports = []
    for step in range(STEPS):
        for rank in ranks:
            for name in NAMES:
                found = batch(name, rank, step)
                if found is not None:
                    monitor.observe(name, found[0], found[1], mask=found[2])
        report = monitor.step(reconstruction_loss=1.0 + step, beta=0.5)
        reports += [] if report is None else [report]
    monitor.close()
    return reports


def one_rank(rank: int, extra: dict[str, Any]) -> list[Report]:
    """Its own batches only."""
    return watched(range(rank, rank + 1), extra)


def values(report: Report) -> dict[str, Any]:
    """All that a report says, by path."""
    found: dict[str, Any] = {"step": report.step, "check": report.check, "steps": report.steps}
    found |= {k: v for k, v in report.measures.items() if not k.startswith("overhead")}
    for name, latent in report.latents.items():
        found |= {f"{name}/{k}": v for k, v in latent.measures.items() if k not in OF_RANKS}
        found |= {f"{name}/unit/{k}": v for k, v in latent.per_unit.items() if k != "growth"}
        found[f"{name}/level"] = latent.level
    return found


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_report_as_one_process_would(tmp_path: Path, ranks: int) -> None:
    """Unequal batches, an empty rank, a latent that one rank never observes, lengths, masks."""
    extra = {"max_rows": None}
    said = on_ranks(one_rank, ranks, tmp_path, extra)
    whole = watched(range(ranks), extra)
    assert [report.step for report in whole] == [4, 8, 12]
    for reports, told in said:
        assert not isinstance(reports, str), reports
        assert told == []
        for got, expected in zip(reports, whole, strict=True):
            a, b = values(got), values(expected)
            missed = {key.split("/")[0] for key in b.keys() - a.keys()}
            assert missed <= {"late"}  # it came between two checks; the next one has it
            for key in a:
                np.testing.assert_allclose(a[key], b[key], rtol=1e-6, atol=1e-9, err_msg=key)
    first = [values(report) for report in said[0][0]]
    for reports, _ in said[1:]:
        for one, other in zip(first, reports, strict=True):
            np.testing.assert_equal(values(other), one)  # to the bit
