"""The linear VAE, whose collapse is known in closed form, seen through the statistics."""

import math

import numpy as np
import pytest
import torch

from collapse_logging import measures
from collapse_logging.posterior import Posterior
from collapse_logging.statistics import Statistics
from tests.oracle import LinearVAE

WORKED = LinearVAE(np.array([10.0, 5.0, 2.5, 1.3, 0.8, 0.6]), beta=1.7, noise=0.5)
"""science.md, section 6; the data have two more directions, 0.4 and 0.3."""


def white(samples, dimensions, seed=0):
    """Samples whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = np.random.default_rng(seed).standard_normal((samples, dimensions))
    x -= x.mean(0)
    eigenvalues, vectors = np.linalg.eigh(x.T @ x / samples)
    return x @ vectors / np.sqrt(eigenvalues) @ vectors.T


def at_the_optimum(vae, samples=4096, batch=64):
    """A window over exact data, seen by the optimal encoder of ``vae``."""
    spectrum = np.concatenate([vae.eigenvalues, [0.4, 0.3]])
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    centre = np.arange(8.0)
    x = centre + white(samples, 8) * np.sqrt(spectrum) @ basis.T
    weight = vae.encoder[:, None] * basis[:, : len(vae.eigenvalues)].T
    mean = torch.tensor((x - centre) @ weight.T, dtype=torch.float32)
    log_variance = torch.tensor(np.log(vae.posterior_variance), dtype=torch.float32)
    statistics = Statistics(1, len(vae.eigenvalues))
    for part in mean.split(batch):
        statistics.update(Posterior(part, log_variance.expand_as(part)))
    return statistics


# --- the optimum ---


@pytest.mark.parametrize(
    ("measure", "worked"),
    [
        (measures.kl, [1.23255, 0.88598, 0.53940, 0.21244, 0.0, 0.0]),
        (measures.information, [1.23255, 0.88598, 0.53940, 0.21244, 0.0, 0.0]),
        (measures.mean_variance, [0.915, 0.83, 0.66, 0.34615, 0.0, 0.0]),
        (measures.signal_fraction, [0.915, 0.83, 0.66, 0.34615, 0.0, 0.0]),
        (measures.posterior_variance, [0.085, 0.17, 0.34, 0.65385, 1.0, 1.0]),
    ],
    ids=["kl", "information", "mean variance", "signal fraction", "posterior variance"],
)
@pytest.mark.parametrize("batch", [64, 1000])
def test_the_worked_numbers_are_measured(measure, worked, batch):
    """Beta 1.7, sigma^2 0.5: the published numbers, to every digit that they have."""
    np.testing.assert_allclose(measure(at_the_optimum(WORKED, batch=batch)), worked, atol=6e-6)


def test_four_of_six_units_are_active():
    """A = #{lambda_j > beta sigma^2} = 4, and the two others are the prior."""
    statistics = at_the_optimum(WORKED)
    assert measures.active_units(statistics) == 4
    assert measures.informative_units(statistics) == 4
    assert measures.passive_units(statistics) == 2


@pytest.mark.parametrize("beta", [0.2, 0.9, 1.7, 3.0, 7.0, 19.0, 21.0, 100.0])
def test_every_beta_is_measured_as_its_closed_form(beta):
    """From all units alive to none: KL, information and variances are the closed form's, and the
    latent is empty exactly when beta sigma^2 >= lambda_1.
    """
    vae = LinearVAE(WORKED.eigenvalues, beta, WORKED.noise)
    statistics = at_the_optimum(vae)
    for name in ("kl", "mean_variance", "posterior_variance"):
        ours, truth = getattr(measures, name)(statistics), getattr(vae, name)
        np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(measures.information(statistics), vae.kl, rtol=1e-5, atol=1e-6)
    assert measures.active_units(statistics) == vae.active.sum()
    assert (measures.information(statistics).sum() < 1e-6) == (beta * 0.5 >= 10.0)


@pytest.mark.parametrize(("beta", "active"), [(0.2, 6), (1.7, 4), (3.0, 3), (12.0, 1), (25.0, 0)])
def test_warming_beta_up_costs_half_a_nat_a_unit(beta, active):
    """DKL / d ln beta = -A / 2: a falling KL under a rising beta is by design."""
    lower, upper = (
        measures.kl(at_the_optimum(LinearVAE(WORKED.eigenvalues, b, WORKED.noise))).sum()
        for b in (beta / 1.01, beta * 1.01)
    )
    slope = (upper - lower) / (2.0 * math.log(1.01))
    assert slope == pytest.approx(-active / 2.0, abs=1e-3)


# --- the way there: growth ---

RATES = LinearVAE(np.array([1.6, 1.2, 1.0, 0.7, 0.5, 0.3]), beta=1.7, noise=0.5)
"""Three units above beta sigma^2 = 0.85 and three below, at comparable rates."""

BATCH = 256
RATE = 0.03


def train(vae, windows, steps=50, batches=1, scale=1.0, averaged=False):
    """Train encoder and decoder jointly near the origin by plain gradient descent, seen by
    ``Statistics``: one a window, after a first one for the transient.

    The gradient is that of the expectation over the latent's noise. ``batches`` minibatches of
    exactly white data taken together are visited in turn; 1 is the exact full batch.
    """
    units = len(vae.eigenvalues)
    x = torch.tensor(white(BATCH * batches, units) * np.sqrt(vae.eigenvalues)).split(BATCH)
    encoder, decoder = (
        torch.tensor(np.diag(np.full(units, 1e-4)), requires_grad=True) for _ in range(2)
    )
    log_variance = torch.zeros(units, dtype=torch.float64, requires_grad=True)
    parameters = (encoder, decoder, log_variance)
    scale = scale / BATCH if averaged else scale
    seen, step = [], 0
    for _ in range(windows + 1):
        statistics = Statistics(1, units)
        for _ in range(steps):
            data = x[step % batches]
            mean = data @ encoder.T
            spread = (log_variance.exp() * (decoder**2).sum(0)).sum()
            squares = ((data - mean @ decoder.T) ** 2).sum(1) + spread
            kl = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(1)
            loss = scale * (squares / (2.0 * vae.noise) + vae.beta * kl).sum()
            push, *gradients = torch.autograd.grad(loss, (mean, *parameters))
            centred = statistics.update(Posterior(mean, log_variance.expand_as(mean)))
            statistics.add_growth(centred, push)
            statistics.end_step()
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= RATE * gradient / (scale * BATCH)
            step += 1
        seen.append(statistics)
    return seen[1:]


# noise lets the strongest direction leak into every unit in time: then they all do grow
@pytest.mark.parametrize(
    ("batches", "windows"), [(1, 4), (8, 2)], ids=["full batch", "minibatches"]
)
def test_growth_has_the_sign_of_the_rate(batches, windows):
    """With every unit still far from active, growth is clearly positive for the units that will
    live (lambda_j > beta sigma^2) and clearly negative for those that will die.
    """
    assert (RATES.rate > 0).tolist() == RATES.active.tolist() == [True] * 3 + [False] * 3
    for statistics in train(RATES, windows, batches=batches):
        assert measures.active_units(statistics) == 0
        assert measures.information(statistics).sum() < 0.01
        growth = measures.growth(statistics)[:-1]
        np.testing.assert_array_equal(growth > 4, RATES.active)
        np.testing.assert_array_equal(growth < -4, ~RATES.active)


def test_the_latents_growth_is_positive_while_one_unit_lives():
    """The last value is the whole latent's: its strongest unit decides, over-provisioned or not."""
    for statistics in train(RATES, windows=3, batches=8):
        assert measures.growth(statistics)[-1] > 4


def test_the_latents_growth_is_negative_in_a_full_collapse():
    """Beta sigma^2 above lambda_1: every unit and the latent as a whole shrink."""
    dying = LinearVAE(RATES.eigenvalues, beta=3.6, noise=0.5)
    assert not dying.active.any()
    for statistics in train(dying, windows=3, batches=8):
        assert (measures.growth(statistics) < -4).all()


def test_information_goes_as_twice_the_rate():
    """Near the origin ln U_j is linear in time with slope 2 gamma_j: the second witness."""
    seen = train(RATES, windows=4)
    log_information = np.log([measures.information(statistics) for statistics in seen])
    slopes = np.diff(log_information, axis=0)[1:].mean(0) / (RATE * 50)
    np.testing.assert_allclose(slopes, 2.0 * RATES.rate, rtol=0.05)


@pytest.mark.parametrize(
    "other", [{"scale": 1e4}, {"scale": 1e-4}, {"averaged": True}], ids=["1e4", "1e-4", "averaged"]
)
def test_growth_does_not_know_the_losss_scale(other):
    """Summed or averaged, or times 1e4: the sign and the t value of every unit stay."""
    plain = [measures.growth(s) for s in train(RATES, windows=2, batches=8)]
    scaled = [measures.growth(s) for s in train(RATES, windows=2, batches=8, **other)]
    np.testing.assert_allclose(scaled, plain, rtol=1e-3)
    np.testing.assert_array_equal(np.sign(scaled), np.sign(plain))
