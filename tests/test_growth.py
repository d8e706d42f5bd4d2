"""Growth: what the gradient says, step by step, in the monitor."""

import math

import numpy as np
import pytest
import torch

from .parts import VAE, gaussian, losses, recorded, samples, train

pytestmark = pytest.mark.usefixtures("windows_alone")

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")


def t_values(steps):
    """Growth from ``g`` of each step, ``[steps, units]``, the last column the whole latent."""
    g = np.concatenate([steps, steps.sum(1, keepdims=True)], 1)
    return g.mean(0) / (g.std(0, ddof=1) / math.sqrt(len(g)))


def growth_of(mean, loss):
    """G of one batch by its definition, with autograd's gradient."""
    (gradient,) = torch.autograd.grad(loss, mean, retain_graph=True)
    mu = mean.detach().double()
    return -((mu - mu.mean(0)) * gradient.double()).sum(0).numpy()


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_growth_is_its_definition(micro_batches):
    """Growth is the t value of -sum (mu - mean mu) dL/dmu, summed over a step's micro-batches."""
    torch.manual_seed(0)
    monitor, memory = recorded(check_frequency=6)
    layer = torch.nn.Linear(5, 3)
    steps = []
    for _ in range(6):
        g = np.zeros(3)
        for _ in range(micro_batches):
            mean = layer(torch.randn(8, 5))
            monitor.observe("z", mean, torch.zeros_like(mean))
            loss = (mean**3).mean() - mean[:, 0].var()
            g += growth_of(mean, loss)
            loss.backward()
        monitor.step()
        steps.append(g)
    latent = memory.reports[0].latents["z"]
    expected = t_values(np.array(steps))
    np.testing.assert_allclose(latent.per_unit["growth"], expected[:-1], rtol=1e-3)
    assert latent.measures["growth"] == pytest.approx(expected[-1], rel=1e-3)
    assert latent.measures["samples"] == 6 * 8 * micro_batches


def test_a_forward_that_the_loss_does_not_reach():
    """Of two forwards in a step one may be without a gradient; both are counted."""
    monitor, memory = recorded(check_frequency=1)
    for reached in (False, True, False):
        mean, log_variance = gaussian((6, 3))
        mean.requires_grad_()
        monitor.observe("z", mean, log_variance)
        if reached:
            (mean**2).sum().backward()
    monitor.step()
    assert samples(memory) == 18


def test_two_backward_passes_add_up():
    """A loss whose parts go backward one after the other gives the growth of their sum."""
    found = []
    for parts in (1, 2):
        monitor, memory = recorded(check_frequency=4)
        for seed in range(4):
            mean, log_variance = gaussian((8, 3), seed)
            mean = mean.requires_grad_() * 1.0
            monitor.observe("z", mean, log_variance)
            terms = [(mean**2).sum(), (mean**3).sum()]
            for loss in terms if parts == 2 else [sum(terms)]:
                loss.backward(retain_graph=True)
            monitor.step()
        found.append(memory.reports[0].latents["z"].per_unit["growth"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_growth_does_not_depend_on_the_losss_scale():
    """A loss scaled by 65536, as a GradScaler's, gives the same growth."""
    found = []
    for scale in (1.0 + 1e-12, 65536.0):  # neither takes optimiser steps, so the means agree
        torch.manual_seed(3)
        monitor, memory = recorded(check_frequency=8)
        train(VAE(), monitor, 8, observe=True, scale=scale)
        found.append(memory.reports[0].latents["z"])
    np.testing.assert_allclose(found[0].per_unit["growth"], found[1].per_unit["growth"], rtol=1e-4)
    assert np.isfinite(found[0].per_unit["growth"]).all()


def test_a_grad_scaler_changes_nothing():
    """Training under torch's GradScaler, the report is that of training without."""
    found = []
    for enabled in (True, False):
        torch.manual_seed(0)
        model = VAE()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=enabled)
        monitor, memory = recorded(check_frequency=8)
        for _ in range(8):
            x = torch.randn(4, 6)
            outputs = model(x)
            monitor.observe("z", *outputs[1:])
            optimizer.zero_grad()
            scaler.scale(sum(losses(x, *outputs))).backward()
            scaler.step(optimizer)
            scaler.update()
            monitor.step()
        found.append(memory.reports[0].latents["z"].per_unit)
    for name, scaled in found[0].items():
        np.testing.assert_allclose(scaled, found[1][name], rtol=1e-4)
        assert np.isfinite(scaled).all()


def test_an_overflowed_step_has_no_growth():
    """A step with an infinite gradient, which a GradScaler skips, leaves growth of the others."""
    monitor, memory = recorded(check_frequency=5)
    steps = []
    for seed in range(5):
        mean, log_variance = gaussian((8, 3), seed)
        mean.requires_grad_()
        monitor.observe("z", mean, log_variance)
        loss = (mean**2).sum()
        if seed != 2:
            steps.append(growth_of(mean, loss))
        (loss * (math.inf if seed == 2 else 1.0)).backward()
        monitor.step()
    expected = t_values(np.array(steps))
    np.testing.assert_allclose(
        memory.reports[0].latents["z"].per_unit["growth"], expected[:-1], rtol=1e-3
    )
