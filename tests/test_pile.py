"""Batches on the host wait and are summed together: nothing but the time may tell."""

import numpy as np
import pytest
import torch

from collapse_logging import CollapseMonitor, pile
from collapse_logging.pile import Pile
from collapse_logging.posterior import Posterior
from collapse_logging.rows import PlainRow
from collapse_logging.side_by_side import SideBySide
from collapse_logging.writers import MemoryWriter

from .parts import gaussian, recorded

pytestmark = pytest.mark.usefixtures("windows_alone")

UNITS = {"a": 3, "b": 5}


def batches(steps, rows=8, dtype=torch.float32):
    """Posteriors of two latents and their gradients, step by step."""
    for step in range(steps):
        batch, gradients = {}, []
        for seed, (name, units) in enumerate(UNITS.items()):
            mean, log_variance = gaussian((rows, units), 10 * step + seed)
            batch[name] = Posterior((mean + 3.0).to(dtype), log_variance.to(dtype))
            gradients.append(gaussian((rows, units), 10 * step + seed + 5)[0].to(dtype))
        yield batch, gradients


def sums_of(steps, gradient=True, **sizes):
    """Sums of both latents."""
    sums = SideBySide()
    for name, units in UNITS.items():
        sums.add(name, units, torch.device("cpu"))
    for batch, gradients in batches(steps, **sizes):
        sums.update(batch, gradients if gradient else [])
        sums.end_step()
    return sums


def same(one, other, **tolerance):
    """Whether two have the same sums."""
    assert one.parts == other.parts
    for mine, theirs in ((one.table, other.table), (one.totals, other.totals)):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), **tolerance)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_a_pile_is_what_its_batches_are(steps, dtype, gradient, monkeypatch):
    """Summed together or one by one: the same, up to the order of fp32 additions."""
    together = sums_of(steps, gradient, dtype=dtype)
    waited = together._pile.count
    together.settle()
    monkeypatch.setattr(pile, "MOST_BYTES", 0)
    at_once = sums_of(steps, gradient, dtype=dtype)
    assert at_once._pile.count == 0
    # the first sets the shifts, and the second is of a kind that was not seen before; in float64
    # nothing waits: the pile would cost it digits
    assert waited == (0 if dtype is torch.float64 else max(steps - 2, 0))
    same(together, at_once, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["mean", "log_variance", "gradient"])
def test_what_cannot_be_read_leaves_out_its_unit_in_its_batch_alone(where, value, monkeypatch):
    """The other batches of the pile count, and the other units of the batch."""
    found = []
    for most in (pile.MOST_BYTES, 0):
        monkeypatch.setattr(pile, "MOST_BYTES", most)
        sums = SideBySide()
        sums.add("a", 3, torch.device("cpu"))
        for step, (batch, gradients) in enumerate(batches(6)):
            posterior, gradient = batch["a"], gradients[0]
            if step == 3:
                spoilt = gradient if where == "gradient" else getattr(posterior, where)
                spoilt[2, 1] = value
            sums.update({"a": posterior}, [gradient])
        statistics = sums.statistics("a")
        assert torch.isfinite(statistics.sums).all()
        assert torch.isfinite(statistics.growth_sums).all()
        found.append(sums)
    same(*found, rtol=2e-5, atol=2e-5)
    counts = found[0].table[PlainRow.COUNT].tolist()
    # growth has counts of its own; an infinite ln sigma^2 is clamped
    whole = where == "gradient" or (where == "log_variance" and np.isinf(value))
    assert counts == [48.0, 48.0 if whole else 40.0, 48.0]


def test_batches_of_another_size_are_summed_behind_those_that_wait():
    """The last batch of an epoch is smaller; nothing is lost and nothing counted twice."""
    monitor, memory = recorded(check_frequency=7)
    sizes = [8, 8, 3, 8, 1, 8, 8]
    for seed, rows in enumerate(sizes):
        monitor.observe("z", *gaussian((rows, 4), seed))
        monitor.step()
    assert memory.reports[0].latents["z"].measures["samples"] == sum(sizes)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_state_with_a_pile_goes_on_to_the_same_bits(cut):
    """Wherever it is taken, what is reported afterwards is the same to the last digit."""
    reports = []
    for stops in (False, True):
        monitor, memory = recorded(check_frequency=6)
        for step in range(12):
            mean, log_variance = gaussian((8, 4), step)
            mean.requires_grad_()
            monitor.observe("z", mean, log_variance)
            (mean**2).sum().backward()
            monitor.step(reconstruction_loss=1.0)
            if stops and step + 1 == cut:
                state = monitor.state_dict()
                monitor, later = recorded(check_frequency=6)
                monitor.load_state_dict(state)
        ends = later.reports if stops and cut < 12 else memory.reports
        reports.append(ends[-1].to_dict())
    assert reports[0] == reports[1]


def filled(rows, units):
    """A pile into which nothing more goes."""
    held, sides = Pile(), [torch.zeros(rows, units)] * 3
    assert not held.put(sides, rows, 3 * units)  # the first of its kind
    while held.put(sides, rows, 3 * units):
        pass
    return held


def test_a_pile_is_bounded():
    """It holds a mebibyte at most, and a batch that would fill it alone is not put away."""
    for rows, units, most in ((64, 32, pile.MOST_BYTES // (64 * 96 * 4)), (2, 1, pile.MOST)):
        held = filled(rows, units)
        assert held.full
        assert 1 < held.count == most
        assert held.take().nbytes <= pile.MOST_BYTES
        assert not held.full
    assert filled(1024, 256).count == 0


def test_a_pile_takes_one_kind():
    """Another one waits until it is empty; what needs more digits, or another device, never."""
    held = Pile()
    put = [held.put([torch.ones(4, 2)] * 2, 4, 4) for _ in range(3)]
    assert put == [False, True, True]  # room is made for what comes twice in a row
    for _ in range(2):
        assert not held.put([torch.ones(4, 2)] * 3, 4, 6)
        assert not held.put([torch.ones(5, 2)] * 2, 5, 4)
    assert torch.equal(held.take(), torch.ones(2, 4, 4))
    assert held.put([torch.ones(4, 2)] * 2, 4, 4)
    assert held.take().shape == (1, 4, 4)
    put = [held.put([torch.ones(5, 2)] * 2, 5, 4) for _ in range(2)]
    assert put == [False, True]
    assert not held.put([torch.ones(5, 2, dtype=torch.float64)] * 2, 5, 4)
    assert not held.put([torch.ones(5, 2, device="meta")] * 2, 5, 4)


def test_batches_of_ever_other_sizes_make_no_room():
    """Nothing is held for a size that does not come again."""
    monitor, memory = recorded(check_frequency=20)
    sizes = [2 + 7 * step % 19 for step in range(20)]
    for step, rows in enumerate(sizes):
        monitor.observe("z", *gaussian((rows, 4), step))
        monitor.step()
        held = monitor._window.latents._plain._pile
        assert held.count == held._batches.numel() == 0
    assert memory.reports[0].latents["z"].measures["samples"] == sum(sizes)


def test_a_failure_at_the_check_hurts_no_training(caplog):
    """What is summed at the check fails there: it is told, and the next window is whole."""
    memory = MemoryWriter()
    monitor = CollapseMonitor([memory], check_frequency=3, verbose=False)
    for seed in range(6):
        monitor.observe("z", *gaussian((8, 4), seed))
        if seed == 2:
            monitor._window.latents._plain.settle = lambda: 1 / 0
        monitor.step()
    assert "ZeroDivisionError" in caplog.text
    assert [report.step for report in memory.reports] == [6]
    assert memory.reports[0].latents["z"].measures["samples"] == 24


@pytest.mark.parametrize("made", ["inference", "bfloat16", "leaf", "autocast"])
def test_whatever_a_batch_was_made_in_may_wait(made, monkeypatch):
    """Inference tensors, narrow ones beside wide ones, and under autocast: as summed at once."""
    found = []
    for most in (pile.MOST_BYTES, 0):
        monkeypatch.setattr(pile, "MOST_BYTES", most)
        monitor, memory = recorded(check_frequency=6)
        for seed in range(6):
            with torch.inference_mode(made == "inference"):
                mean, log_variance = (side.clone() for side in gaussian((8, 4), seed))
            if made == "bfloat16":
                log_variance = log_variance.bfloat16()
            if made != "inference":
                mean.requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=made == "autocast"):
                monitor.observe("z", mean, log_variance)
                if made != "inference":
                    (mean**2).sum().backward()
                waits = monitor._window.latents._plain._pile.count
                monitor.step()
        assert waits == (3 if most else 0)
        found.append(memory.reports[0].latents["z"].measures)
    together, at_once = found
    assert together == pytest.approx(at_once, rel=1e-4, abs=1e-5)
    assert ("growth" in together) == (made != "inference")


@pytest.mark.usefixtures("at_once")
def test_a_batch_that_cannot_be_read_leaves_the_squares_alone():
    """Its mean is not taken off the squares of the others."""
    found = []
    for spoilt in (False, True):
        sums = SideBySide()
        sums.add("z", 3, torch.device("cpu"))
        for step in range(3):
            mean, log_variance = gaussian((8, 3), step)
            if step == 2:
                if not spoilt:
                    continue
                mean, log_variance = mean + 100.0, log_variance + np.inf - np.inf
            sums.update({"z": Posterior(mean, log_variance)})
        found.append(sums.table[PlainRow.WITHIN].clone())
    assert torch.equal(*found)
    assert (found[0] > 1.0).all()
