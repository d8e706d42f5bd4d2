"""What the user observed becomes a posterior, or an error that says how to mend it."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Gamma, Independent, Normal

from collapse_logging.given import check_mask, observed
from collapse_logging.posterior import as_posterior, by_position
from tests import oracle


@pytest.mark.parametrize(
    ("shape", "positions", "units"),
    [
        ((4, 7), 1, 7),
        ((1, 1), 1, 1),
        ((0, 7), 1, 7),
        ((4, 5, 7), 5, 7),
        ((4, 7, 3, 2), 6, 7),
    ],
)
def test_positions_and_units_are_read_from_the_shape(shape, positions, units):
    """The units are the last axis, or the channels of four axes; the rest are positions."""
    posterior = as_posterior(torch.zeros(shape), torch.zeros(shape))
    assert posterior.positions_and_units == (positions, units)


@pytest.mark.parametrize("shape", [(4, 7), (4, 5, 7), (4, 7, 3, 2)])
def test_by_position_puts_units_last_without_a_copy(shape):
    """Every form is viewed as [batch, positions, units], rows of an image one after the other."""
    tensor = torch.randn(shape)
    viewed = by_position(tensor)
    np.testing.assert_array_equal(viewed.double().numpy(), oracle.by_position(tensor.numpy()))
    assert viewed.data_ptr() == tensor.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_are_kept_as_they_came(dtype):
    """The very tensor is kept, so that its gradient can be asked for; nothing is cast."""
    mean = torch.zeros(4, 3, dtype=dtype, requires_grad=True)
    log_variance = torch.zeros(4, 3, dtype=dtype)
    posterior = as_posterior(mean, log_variance)
    assert posterior.mean is mean
    assert posterior.log_variance is log_variance


@pytest.mark.parametrize("wraps", [0, 1, 2], ids=["normal", "independent", "twice independent"])
def test_a_normal_gives_its_mean_and_log_variance(wraps):
    """A Normal, however often wrapped in Independent, is read as mean and 2 ln scale."""
    mean, scale = torch.randn(4, 5, 3, requires_grad=True), torch.rand(4, 5, 3) + 0.1
    distribution = Normal(mean, scale)
    for _ in range(wraps):
        distribution = Independent(distribution, 1)
    posterior = as_posterior(distribution)
    # the distribution's own tensor stays in the graph, so a hook on it meets the gradient
    assert posterior.mean is _base(distribution).loc
    assert posterior.mean.requires_grad
    torch.testing.assert_close(posterior.log_variance, (scale**2).log())
    assert not posterior.log_variance.requires_grad


def _base(distribution):
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def test_nothing_is_read_from_the_device():
    """Tensors without values (meta) pass: a check that looked at one would wait for the device."""
    mean = torch.zeros(4, 3, device="meta")
    assert as_posterior(mean, mean).mean is mean
    assert observed("z", mean, mean).log_variance is mean


def zeros(*shape):
    """A tensor of zeros."""
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((zeros(4, 3), zeros(4, 2)), ValueError, r"one shape.*\[4, 3\] and \[4, 2\].*expand_as"),
        ((zeros(4, 3), zeros(1, 3)), ValueError, r"one shape.*\[4, 3\] and \[1, 3\]"),
        ((zeros(4), zeros(4)), ValueError, r"expected \[batch, units\].*got \[4\].*batch"),
        ((zeros(), zeros()), ValueError, r"expected \[batch, units\].*got \[\]"),
        ((zeros(2, 3, 4, 5, 6),) * 2, ValueError, r"expected \[batch, units\].*\[2, 3, 4, 5, 6\]"),
        ((zeros(4, 0),) * 2, ValueError, r"at least one unit and one position.*\[4, 0\]"),
        ((zeros(4, 0, 3),) * 2, ValueError, r"at least one unit and one position.*\[4, 0, 3\]"),
        ((zeros(4, 3, 0, 2),) * 2, ValueError, r"at least one unit and one position"),
        ((zeros(4, 3), torch.zeros(4, 3, device="meta")), ValueError, "one device.*cpu.*meta"),
        ((zeros(4, 3).long(), zeros(4, 3)), TypeError, "mean of a floating-point type.*int64"),
        ((zeros(4, 3), zeros(4, 3).bool()), TypeError, "log_variance of a floating.*bool"),
        ((zeros(4, 3).cfloat(), zeros(4, 3)), TypeError, "floating-point type.*complex64"),
        ((zeros(4, 3).to_sparse(), zeros(4, 3)), TypeError, r"dense mean.*to_dense\(\)"),
        ((zeros(4, 3),), TypeError, r"observe\(name, mean, log_variance\).*nothing for log_var"),
        ((zeros(4, 3), 0.0), TypeError, "got float for log_variance"),
        ((np.zeros((4, 3)), zeros(4, 3)), TypeError, "got ndarray for mean"),
        (([[0.0]], zeros(1, 1)), TypeError, "got list for mean"),
        ((Normal(zeros(4, 3), 1.0), zeros(4, 3)), TypeError, "a distribution alone.*leave"),
        ((Bernoulli(zeros(4, 3)),), TypeError, "expected a Normal, .*got Bernoulli"),
        ((Gamma(zeros(4, 3) + 1, 1.0),), TypeError, "got Gamma.*pass mean and log_variance of a"),
        ((Independent(Bernoulli(zeros(4, 3)), 1),), TypeError, "got Bernoulli"),
        ((Normal(0.0, 1.0),), ValueError, r"expected \[batch, units\].*got \[\]"),
    ],
)
def test_what_cannot_be_a_posterior_is_refused(arguments, error, words):
    """Each mistake is an error that names the latent, what was expected, what came and a cure."""
    with pytest.raises(error, match=f"(?s)latent 'top': .*{words}"):
        as_posterior(*arguments, latent="top")


@pytest.mark.parametrize(
    ("shape", "mask"),
    [((4, 3), (4,)), ((4, 3), (4, 1)), ((4, 5, 3), (4, 5)), ((4, 3, 2, 2), (4, 4))],
)
def test_a_mask_by_sample_or_by_position_is_accepted(shape, mask):
    """A mask is [batch] or [batch, positions]; the pixels of an image are its positions."""
    posterior = as_posterior(torch.zeros(shape), torch.zeros(shape))
    assert check_mask(torch.ones(mask, dtype=torch.bool), posterior) is None


@pytest.mark.parametrize(
    ("shape", "mask"),
    [((4, 3), (3,)), ((4, 3), (4, 3)), ((4, 5, 3), (4, 5, 3)), ((4, 3, 2, 2), (4, 2, 2))],
)
def test_a_mask_of_another_shape_is_refused(shape, mask):
    """The error names both shapes that would do, and the one that came."""
    posterior = as_posterior(torch.zeros(shape), torch.zeros(shape))
    positions = posterior.positions_and_units[0]
    wanted = rf"latent 'top': expected a mask \[4\] or \[4, {positions}\], got \[{mask[0]}"
    with pytest.raises(ValueError, match=wanted):
        check_mask(torch.ones(mask, dtype=torch.bool), posterior, latent="top")
