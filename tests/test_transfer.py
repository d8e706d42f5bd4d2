"""Transfers: copies that may come late lose nothing, and back-pressure merges windows."""

import math
import random

import numpy as np
import pytest
import torch

from collapse_logging.transfer import SLOTS, CudaTransfer, DirectTransfer, Transfer, transfer_for

from . import oracle
from .parts import gaussian, joined, recorded, samples

pytestmark = pytest.mark.usefixtures("windows_alone")

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class LateTransfer(Transfer):
    """A device whose copies arrive late: until then the destination holds NaN."""

    def __init__(self, seed, promptness):
        self.random, self.promptness = random.Random(seed), promptness
        self.flying, self.free, self.refused = [], [], 0

    def ready(self):
        self.refused += len(self.flying) >= SLOTS
        return len(self.flying) < SLOTS

    def send(self, vector, tag):
        assert len(self.flying) < SLOTS
        while self.free and self.free[-1].numel() != vector.numel():
            self.free.pop()
        target = self.free.pop() if self.free else torch.empty(vector.numel())
        target.fill_(math.nan)
        self.flying.append((target, vector.clone(), tag))

    def poll(self, wait=False):
        arrived = []
        while self.flying and (wait or self.random.random() < self.promptness):
            target, source, tag = self.flying.pop(0)
            target.copy_(source)
            arrived.append((target.clone(), tag))
            target.fill_(math.nan)
            self.free.append(target)
        return arrived


@pytest.mark.parametrize("seed", range(200))
def test_late_copies_lose_nothing(seed):
    """Over any schedule every sample, step and loss is in one report, and steps only grow."""
    chance = random.Random(seed)
    monitor, memory = recorded(check_frequency=chance.randint(1, 4))
    transfer = LateTransfer(seed, promptness=chance.choice([0.02, 0.2, 0.7]))
    monitor._delivery.transfer = transfer
    total, observed, spent, returned = chance.randint(1, 40), 0, 0.0, []
    for step in range(1, total + 1):
        batch = chance.randint(0, 3)
        observed += batch
        monitor.observe("z", *gaussian((batch, 2), step))
        monitor.observe("always", *gaussian((1, 2), step))
        spent += step
        returned.append(monitor.step(reconstruction_loss=float(step)))
        if chance.random() < 0.05:
            returned.append(monitor.flush())
    monitor.flush()
    reports = memory.reports
    assert samples(memory) == observed
    assert samples(memory, "always") == sum(report.steps for report in reports) == total
    losses = [report.measures["reconstruction_loss"] * report.steps for report in reports]
    assert sum(losses) == pytest.approx(spent)
    assert [report.step for report in reports] == sorted({report.step for report in reports})
    assert reports[-1].step == total
    assert [report.check for report in reports] == list(range(len(reports)))
    assert not transfer.flying


def test_back_pressure_merges():
    """With no free slot the window goes on; the merged report is numpy's of all its batches."""
    monitor, memory = recorded(check_frequency=2)
    monitor._delivery.transfer = transfer = LateTransfer(0, promptness=0.0)
    batches = [gaussian((5, 3), seed) for seed in range(12)]
    for batch in batches:
        monitor.observe("z", *batch)
        assert monitor.step() is None
    monitor.flush()
    assert transfer.refused == 7
    assert [(report.step, report.steps) for report in memory.reports] == [(2, 2), (4, 2), (12, 8)]
    expected = oracle.measures(*(joined(side) for side in zip(*batches[4:], strict=True)))
    got = memory.reports[2].latents["z"].per_unit
    np.testing.assert_allclose(got["information"], expected["information"], rtol=1e-5)


def test_direct_transfer_copies():
    """What was sent may be overwritten at once; it arrives once, in order."""
    transfer, vector = DirectTransfer(), torch.arange(3.0)
    assert transfer.poll() == []
    for tag in "ab":
        assert transfer.ready()
        transfer.send(vector, tag)
        vector += 10
    (first, one), (second, two) = transfer.poll()
    assert (first.tolist(), one) == ([0, 1, 2], "a")
    assert (second.tolist(), two) == ([10, 11, 12], "b")
    assert transfer.poll(wait=True) == []


def test_transfer_for():
    """Only CUDA has a transfer of its own."""
    assert isinstance(transfer_for(torch.device("cpu")), DirectTransfer)
    assert isinstance(transfer_for(torch.device("mps")), DirectTransfer)
    assert isinstance(transfer_for(torch.device("cuda")), CudaTransfer)


@NO_CUDA
def test_cuda_transfer():
    """Copies to pinned memory arrive in order, whole, in no more than the slots there are."""
    transfer, vector = CudaTransfer(), torch.zeros(1000, device="cuda")
    for turn in range(10):
        for slot in range(SLOTS):
            assert transfer.ready()
            vector.fill_(turn * SLOTS + slot)
            transfer.send(vector, slot)
        assert not transfer.ready() or transfer.poll() is not None
        arrived = transfer.poll(wait=True)
        assert [tag for _, tag in arrived] == list(range(SLOTS))[-len(arrived) :]
        assert all((copy == turn * SLOTS + tag).all() for copy, tag in arrived)


@NO_CUDA
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_cuda_never_waits():
    """Fifty steps on CUDA with checks raise nothing where every synchronisation is an error."""
    monitor, memory = recorded(check_frequency=5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(50):
            mean = torch.zeros(8, 4, device="cuda").normal_().requires_grad_()
            monitor.observe("z", mean, torch.zeros(8, 4, device="cuda"))
            loss = (mean**2).sum()
            loss.backward()
            monitor.step(reconstruction_loss=loss.detach(), step=step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    monitor.flush()
    assert samples(memory) == 400
