"""What is gathered between two checks, above all from streams gone wrong."""

import math

import numpy as np
import pytest
import torch

from collapse_logging import Rules

from . import oracle
from .parts import gaussian, joined, recorded, samples, warnings_in

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")


def test_in_place_change_is_left_out(caplog):
    """A batch that was changed after it was observed is left out, and told of once."""
    monitor, memory = recorded(check_frequency=4)
    kept = []
    for seed in range(4):
        mean, log_variance = gaussian((6, 3), seed)
        monitor.observe("z", mean, log_variance)
        if seed % 2:
            (mean if seed == 1 else log_variance).mul_(100.0)
        else:
            kept.append((mean, log_variance))
        monitor.step()
    expected = oracle.measures(*(joined(side) for side in zip(*kept, strict=True)))
    got = memory.reports[0].latents["z"]
    np.testing.assert_allclose(got.per_unit["kl"], expected["kl"], rtol=1e-5)
    assert len(warnings_in(caplog)) == 1
    assert "'z' was changed in place" in warnings_in(caplog)[0]


def test_change_of_units(caplog):
    """Other units warn and start the latent's window again, merged with none of the others."""
    monitor, memory = recorded(check_frequency=3)
    for seed, units in enumerate((4, 4, 4, 4, 4, 2, 2, 2, 2)):
        monitor.observe("z", *gaussian((5, units), seed))
        monitor.step()
    before, first, second = (report.latents["z"] for report in memory.reports)
    expected = oracle.measures(*gaussian((5, 2), 5))
    np.testing.assert_allclose(first.per_unit["kl"], expected["kl"], rtol=1e-5)
    assert before.measures["samples"] == 15
    assert (first.measures["samples"], second.measures["samples"]) == (5, 20)
    assert len(warnings_in(caplog)) == 1
    assert "had 4 units and now has 2" in warnings_in(caplog)[0]


def test_other_device_and_positions():
    """More positions than before are taken in, each counted as often as it was seen."""
    monitor, memory = recorded(check_frequency=2)
    short, long = gaussian((6, 2, 3), 0), gaussian((6, 4, 3), 1)
    monitor.observe("z", *short)
    monitor.step()
    monitor.observe("z", *long)
    monitor.step()
    padded = [np.pad(side, ((0, 0), (0, 2), (0, 0)), constant_values=np.nan) for side in short]
    both = (np.concatenate([p, side]) for p, side in zip(padded, long, strict=True))
    expected = oracle.measures(*both)
    got = memory.reports[0].latents["z"]
    np.testing.assert_allclose(got.per_unit["information"], expected["information"], rtol=1e-5)


def test_empty_batch():
    """An empty batch counts nothing, with others or alone."""
    monitor, memory = recorded(check_frequency=2)
    empty = torch.zeros(0, 3, requires_grad=True)
    for batch in (gaussian((5, 3)), (empty, torch.zeros(0, 3)), (empty, empty), (empty, empty)):
        monitor.observe("z", *batch)
        (batch[0].sum() + empty.sum()).backward()
        monitor.step()
    (report,) = memory.reports
    expected = oracle.measures(*gaussian((5, 3)))
    np.testing.assert_allclose(report.latents["z"].per_unit["kl"], expected["kl"], rtol=1e-5)
    assert report.latents["z"].measures["samples"] == 5


def test_empty_micro_batch():
    """An empty last micro-batch does not take the place of the one before it."""
    reports = []
    for sizes in ((5,), (5, 0)):
        monitor, memory = recorded(check_frequency=1)
        for size in sizes:
            monitor.observe("z", *gaussian((size, 3)))
        monitor.step()
        reports.append(memory.reports[0].to_dict())
    assert reports[0] == reports[1]
    assert "mutual_information" in reports[0]["latents"]["z"]["measures"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_batch_that_is_not_finite(value):
    """It gives no KL and one explosion alert; the next windows are as if it had not been."""
    monitor, memory = recorded(rules=Rules(check_frequency=1, skip_checks=0))
    bad = torch.full((5, 3), value, requires_grad=True)
    good = gaussian((5, 3)), gaussian((5, 3), 1)
    for batch in (good[0], (bad, bad), (bad, bad), good[1]):
        monitor.observe("z", *batch)
        (batch[0] * bad.detach()).sum().add(bad.sum()).backward()
        monitor.step()
    first, explosion, still, after = memory.reports
    assert "kl" not in explosion.latents["z"].measures
    assert explosion.latents["z"].measures["nonfinite"] == 15
    assert [alert.kind for alert in explosion.alerts] == ["explosion"]
    assert first.alerts == still.alerts == after.alerts == ()
    expected = oracle.measures(*(joined(side) for side in zip(*good, strict=True)))
    np.testing.assert_allclose(after.latents["z"].per_unit["kl"], expected["kl"], rtol=1e-5)
    assert after.latents["z"].indicators == ()


def test_rows_that_are_not_finite_are_counted_in_their_own_window():
    """A window that is merged with the last ones does not bring their explosion back."""
    monitor, memory = recorded(rules=Rules(check_frequency=1, skip_checks=0))
    for seed in range(4):
        mean, log_variance = gaussian((6, 1, 3), seed)
        if seed == 1:
            mean[0] = math.nan
        monitor.observe("z", mean, log_variance)
        monitor.step()
    told = [report.latents["z"].measures.get("nonfinite") for report in memory.reports]
    assert told == [None, 3, None, None]
    assert [len(report.alerts) for report in memory.reports] == [0, 1, 0, 0]
    assert [r.latents["z"].measures["samples"] for r in memory.reports] == [6, 11, 17, 23]


def test_a_loss_does_not_outlast_its_window():
    """A step without a loss has none, also where the window before had one in its place."""
    monitor, memory = recorded(check_frequency=2)
    for loss in (1.0, 5.0, 3.0, None):
        monitor.observe("z", *gaussian((4, 2)))
        monitor.step(reconstruction_loss=loss)
    assert [r.measures["reconstruction_loss"] for r in memory.reports] == [3.0, 3.0]


def test_observed_twice_counts_once(caplog):
    """The same mean under the same name in one step is one observation, and is told of."""
    monitor, memory = recorded(check_frequency=1)
    mean, log_variance = gaussian((5, 3))
    for _ in range(3):
        monitor.observe("z", mean, log_variance)
    monitor.step()
    assert samples(memory) == 5
    assert "observed twice" in warnings_in(caplog)[0]


def test_observed_under_inference_mode_first():
    """Sums that began under inference mode can be updated in training."""
    monitor, memory = recorded(check_frequency=2)
    with torch.inference_mode():
        monitor.observe("z", *gaussian((5, 3)))
        monitor.step(reconstruction_loss=1.0)
    monitor.observe("z", *gaussian((5, 3), 1))
    monitor.step(reconstruction_loss=torch.tensor(2.0))
    assert samples(memory) == 10
    assert memory.reports[0].measures["reconstruction_loss"] == 1.5


@pytest.mark.parametrize("copy", [np.asarray, np.asfortranarray], ids=["rows", "columns"])
def test_strided_and_expanded(copy):
    """Non-contiguous and expanded tensors are read by value."""
    mean = torch.from_numpy(copy(gaussian((6, 8))[0].numpy()))[:, ::2]
    log_variance = torch.tensor([-1.0, 0.0, 0.5, 1.0]).expand(6, 4)
    monitor, memory = recorded(check_frequency=1)
    monitor.observe("z", mean, log_variance)
    monitor.step()
    expected = oracle.measures(mean, log_variance)
    got = memory.reports[0].latents["z"].per_unit["information"]
    np.testing.assert_allclose(got, expected["information"], rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (5, 2, 3), (2, 3, 2, 2)])
@pytest.mark.parametrize("value", [3e38, -3e38, 1e30])
def test_sums_that_overflow_are_no_warning_of_numpys(shape, value):
    """A latent at the end of 32 bits is reported without a word that is not ours."""
    monitor, memory = recorded(check_frequency=2)
    for _ in range(4):
        monitor.observe("z", torch.full(shape, value), torch.zeros(shape))
        monitor.step()
    assert len(memory.reports) == 2
    for report in memory.reports:
        assert all(math.isfinite(scalar) for scalar in report.scalars().values())
