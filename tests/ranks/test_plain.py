"""The plain monitor beside DDP and FSDP, lengths that differ between ranks, and a fixed lag."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from collapse_logging import CollapseMonitor, statistics, transfer
from collapse_logging.transfer import DirectTransfer, LaggedTransfer

from ..parts import VAE, gaussian, losses
from .processes import on_ranks


class Normalised(VAE):
    """Has buffers, which DDP broadcasts from rank zero at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Any) -> Any:
        """As ever, of normalised rows."""
        return super().forward(self.norm(x))


def trained(rank: int, wrapper: str, watched: bool) -> Any:
    """Twelve steps under a wrapper; parameters, samples by check, keys of the model's state."""
    torch.manual_seed(0)
    inner = Normalised()
    model = DistributedDataParallel(inner) if wrapper == "ddp" else inner
    if wrapper == "fsdp":
        fully_shard(model.encoder)
        fully_shard(model)
    keys, samples = list(model.state_dict()), []
    monitor = CollapseMonitor(check_frequency=4, verbose=False, strict=True)
    if watched:
        monitor.watch(model, "module.encoder" if wrapper == "ddp" else "encoder")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.manual_seed(rank)
    for _ in range(12):
        x = torch.randn(4 + rank, 6)
        loss = sum(losses(x, *model(x)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report = monitor.step() if watched else None
        if report is not None:
            (latent,) = report.latents.values()
            samples.append((latent.measures["samples"], "growth" in latent.measures))
    monitor.close()
    assert list(model.state_dict()) == keys
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return [p.detach().numpy().copy() for p in whole], samples


@pytest.mark.parametrize("wrapper", ["ddp", "fsdp"])
def test_beside_a_wrapper(tmp_path: Path, wrapper: str) -> None:
    """All ranks' samples and gradients count, nothing of ours is in the model's state, and the
    training is bit-identical with and without.
    """
    without, _ = on_ranks(trained, 2, tmp_path, wrapper, False)[0]
    for result, told in on_ranks(trained, 2, tmp_path, wrapper, True):
        assert not isinstance(result, str), result
        parameters, samples = result
        for one, other in zip(parameters, without[0], strict=True):
            np.testing.assert_array_equal(one, other)
        assert samples[0] == (36.0, True)
        assert len(samples) == 3
        assert told == []


def growing(rank: int, most: int) -> Any:
    """Sequences become longer, on rank 1 first; beyond ``most`` cells every k-th is read."""
    statistics.MAX_CELLS = most
    monitor = CollapseMonitor(check_frequency=2, verbose=False, strict=True)
    found = []
    for step in range(10):
        length = 3 if step < 4 or rank == 0 else 8
        monitor.observe("z", *gaussian((20, length, 2), 10 * step + rank))
        report = monitor.step()
        if report is not None:
            measures = report.latents["z"].measures
            found.append((measures["samples"], round(measures["information"], 6)))
    return found


@pytest.mark.parametrize("most", [64, 8])
def test_sequences_grow_on_one_rank(tmp_path: Path, most: int) -> None:
    """The layout is agreed upon anew; meanwhile the positions that all know are added."""
    (first, told), (second, _) = on_ranks(growing, 2, tmp_path, most)
    assert not isinstance(first, str), first
    assert first == second
    assert told == []
    assert [samples for samples, _ in first[:2]] == [80.0, 80.0]
    assert first[-1][0] == 80.0
    assert first[-1][1] > 1.5 * first[0][1]  # five positions more, on one rank of two


def test_a_lagged_copy_comes_at_its_poll() -> None:
    """Not before, though it is there; and at once where it is waited for."""
    lagged = LaggedTransfer(DirectTransfer(), 2)
    for wait in (False, True):
        lagged.send(torch.ones(1), "tag")
        polls = [lagged.poll(wait and turn == 1) for turn in range(4)]
        assert [len(poll) for poll in polls] == ([0, 1, 0, 0] if wait else [0, 0, 1, 0])


class Late(DirectTransfer):
    """A device on which no copy is there by itself."""

    def poll(self, wait: bool = False) -> list[Any]:
        """Only what is waited for."""
        return super().poll() if wait else []


def lagging(rank: int, frequency: int) -> Any:
    """Steps at which reports come, with a lag of three steps, and what the state then is."""
    transfer.transfer_for = lambda *given: None  # the monitor must not make its own
    monitor = CollapseMonitor(check_frequency=frequency, verbose=False, strict=True)
    monitor._delivery.transfer = LaggedTransfer(Late(), 3)
    came = []
    for step in range(1, 14):
        monitor.observe("z", *gaussian((40, 2), 10 * step + rank))
        report = monitor.step()
        if report is not None:
            came.append((step, report.step))
    monitor.close()
    return came, monitor.report.step


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        (5, [(8, 5), (13, 10)]),
        (2, [(step, step - 2) for step in (4, 6, 8, 10, 12)]),
        (1, [(step, step - 1) for step in range(2, 14)]),
    ],
)
def test_ranks_decide_at_a_fixed_lag(tmp_path: Path, frequency: int, expected: Any) -> None:
    """Or at the next check, if that comes first; closing takes the last one."""
    last = 13 // frequency * frequency
    for result, _ in on_ranks(lagging, 2, tmp_path, frequency):
        assert result == (expected, last), result


def saved_while_flying(rank: int) -> Any:
    """Rank 0 alone takes its state between a check and its report; both resume from it."""
    transfer.transfer_for = lambda *given: None
    folder, came, told = [], [], []
    for session in range(2):
        monitor = CollapseMonitor(check_frequency=5, verbose=False, strict=True)
        monitor._delivery.transfer = LaggedTransfer(Late(), 3)
        if session:
            shared: list[Any] = [folder[0] if rank == 0 else None]
            dist.broadcast_object_list(shared)
            file = io.BytesIO()
            torch.save(shared[0], file)
            file.seek(0)
            monitor.load_state_dict(torch.load(file, weights_only=True))
            monitor._delivery.transfer = LaggedTransfer(Late(), 3)
        for step in range(7 if session else 1, 12):
            monitor.observe("z", *gaussian((40, 2), 10 * step + rank))
            report = monitor.step()
            if report is not None:
                came.append((step, report.step, report.check))
                told.append(report.latents["z"].measures["kl"])
            if rank == 0 and step == 6 and not session:
                folder.append(monitor.state_dict())
        monitor.close()
    assert told[0] == told[1]
    return came


def test_a_copy_under_way_is_part_of_the_state(tmp_path: Path) -> None:
    """Taking a state on one rank moves no decision; who resumes from it decides at once."""
    for result, _ in on_ranks(saved_while_flying, 2, tmp_path):
        assert result == [(8, 5, 0), (7, 5, 0)], result


def joined(rank: int) -> int:
    """Rank 1 has two batches more; DDP's Join stands in for rank 0 meanwhile."""
    model = DistributedDataParallel(VAE())
    monitor = CollapseMonitor(check_frequency=2, verbose=False, strict=True, across_ranks=False)
    monitor.watch(model, "module.encoder")
    reports = 0
    with Join([model]):
        for _ in range(4 + 2 * rank):
            x = torch.randn(4, 6)
            sum(losses(x, *model(x))).backward()
            reports += monitor.step() is not None
    monitor.close()
    return reports


def test_uneven_inputs_under_join(tmp_path: Path) -> None:
    """With across_ranks=False each rank judges its own, and nothing waits."""
    assert [result for result, _ in on_ranks(joined, 2, tmp_path)] == [2, 3]
