"""Gaussian priors that are not N(0, 1), against torch's KL and what must not change."""

import pytest
import torch
from torch.distributions import Gamma, Independent, Normal, kl_divergence

from .parts import gaussian, recorded


def told(mean, log_variance, **settings):
    """Measures of one window with this batch."""
    monitor, memory = recorded(check_frequency=1, observe_every=1)
    monitor.observe("z", mean, log_variance, **settings)
    monitor.step()
    return memory.reports[0].latents["z"].measures


def posterior(mean, log_variance):
    """As a distribution."""
    return Normal(mean, (0.5 * log_variance).exp())


SHAPES = [(40, 3), (40, 5, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("conditional", [False, True])
def test_the_kl_is_that_to_the_prior(shape, conditional):
    """As torch has it, for a prior of all samples and for one of each, in every form."""
    mean, log_variance = gaussian(shape)
    prior = gaussian(shape if conditional else shape[-1:], seed=1, log_variance=0.5)
    expected = kl_divergence(posterior(mean, log_variance), posterior(*prior)).mean(0).sum().item()
    for given in (prior, posterior(*prior), Independent(posterior(*prior), 1)):
        assert told(mean, log_variance, prior=given)["kl"] == pytest.approx(expected, rel=1e-4)
    own = posterior(mean, log_variance)
    assert told(own, None, prior=prior)["kl"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [*SHAPES, (40, 3, 4, 2)])
def test_a_prior_of_all_samples_leaves_information_alone(shape):
    """Scaling and moving z says nothing about x; so N(0, 1) and any other prior give the same."""
    mean, log_variance = gaussian(shape)
    prior = Normal(torch.tensor(3.0), torch.tensor(0.2))
    plain, other = told(mean, log_variance), told(mean, log_variance, prior=prior)
    for name in ("information", "informative_units", "samples"):
        assert plain[name] == pytest.approx(other[name], rel=1e-4)
    assert other["mean_variance"] == pytest.approx(25.0 * plain["mean_variance"], rel=1e-4)


def test_a_collapse_to_a_scaled_prior_is_one():
    """The posterior variance is told in the prior's units: 1 in a collapse."""
    prior = Normal(torch.tensor(-2.0), torch.tensor(5.0))
    mean, log_variance = torch.full((64, 4), -2.0), torch.full((64, 4), 25.0).log()
    measures = told(mean, log_variance, prior=prior)
    assert measures["posterior_variance"] == pytest.approx(1.0)
    assert measures["kl"] == pytest.approx(0.0, abs=1e-5)
    assert measures["passive_units"] == 4


def test_a_posterior_that_is_its_conditional_prior_says_nothing_of_its_own():
    """However much both vary; as if by the prior's condition alone."""
    mean, log_variance = gaussian((64, 4))
    assert told(mean, log_variance)["information"] > 1.0
    measures = told(mean, log_variance, prior=(mean, log_variance))
    assert measures["information"] == measures["kl"] == pytest.approx(0.0, abs=1e-6)


def test_growth_is_read_in_the_priors_units():
    """The sign is where the loss pushes what is left of the mean less the prior's."""
    monitor, memory = recorded(check_frequency=10, observe_every=1)
    for seed in range(10):
        mean, log_variance = gaussian((16, 4), seed)
        prior_mean, _ = gaussian((16, 4), seed + 100, spread=10.0)
        mean = (mean + prior_mean).requires_grad_()
        monitor.observe("z", mean, log_variance, prior=(prior_mean, torch.full((16, 4), 2.0)))
        (0.5 * (mean - prior_mean) ** 2).sum().backward()
        monitor.step()
    assert memory.reports[0].latents["z"].measures["growth"] < -5.0


def test_rows_are_cut_of_the_prior_too():
    """A large batch is read in part, with the prior of those rows."""
    mean, log_variance = gaussian((100, 2))
    monitor, memory = recorded(check_frequency=1, observe_every=1, max_rows=10)
    monitor.observe("z", mean, log_variance, prior=(mean, log_variance))
    monitor.step()
    assert memory.reports[0].latents["z"].measures["kl"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("prior", "error", "words"),
    [
        (Gamma(torch.ones(3), torch.ones(3)), TypeError, "as a Normal or as .* got Gamma; leave"),
        ((torch.zeros(3),), TypeError, "got tuple"),
        ((torch.zeros(4), torch.zeros(4)), ValueError, r"\[9, 3\], got \[4\] and \[4\]"),
        (1.0, TypeError, "got float"),
    ],
)
def test_what_is_no_prior_is_refused(prior, error, words):
    """With expected, got and how to mend."""
    monitor, _ = recorded(observe_every=1)
    with pytest.raises(error, match=words):
        monitor.observe("z", *gaussian((9, 3)), prior=prior)
