"""Watching a model that is compiled."""

import numpy as np
import pytest
import torch

from .parts import VAE, recorded, samples, steps, warnings_in
from .test_capture import ListVAE

# torch.compile itself, where a graph breaks
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("compiled_first", [False, True])
@pytest.mark.parametrize(("make", "latents"), [(VAE, "encoder"), (VAE, None), (ListVAE, None)])
def test_compiled(make, latents, compiled_first, backend):
    """A compiled model trains as if unwatched and is counted once, be it found or named."""
    ends = []
    for watch in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = make()
        monitor, memory = recorded(check_frequency=50)
        if watch and not compiled_first:
            monitor.watch(model, latents)
        compiled = torch.compile(model, backend=backend)
        if watch and compiled_first:
            monitor.watch(compiled, latents)
        steps(compiled, monitor, 3)
        ends.append([parameter.grad for parameter in model.parameters()])
    for unwatched, watched in zip(*ends, strict=True):
        torch.testing.assert_close(unwatched, watched, rtol=0.0, atol=0.0)
    monitor.flush()
    (latent,) = memory.reports[0].latents.values()
    assert latent.measures["samples"] == 12
    if make is VAE:  # a list that the compiled graph fills is not what its loss is taken of
        assert np.isfinite(latent.per_unit["growth"]).all()


def test_other_batch_sizes():
    """Other batch sizes, which compile again, lose nothing."""
    model = VAE()
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="eager")
    for batch in (32, 32, 17, 5):
        steps(compiled, monitor, 1, batch)
    assert samples(memory, "encoder") == 86


def test_nothing_is_compiled_after_the_first_step():
    """Watching adds graphs at the first step, and none at the later ones or at checks."""
    model = VAE()
    monitor, _ = recorded(check_frequency=4)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="eager")
    torch._dynamo.utils.counters.clear()
    steps(compiled, monitor, 1)
    first = dict(torch._dynamo.utils.counters["frames"])
    steps(compiled, monitor, 40)
    assert dict(torch._dynamo.utils.counters["frames"]) == first
    assert first["total"] <= 6


def test_watched_too_late(caplog):
    """torch.compile does not see a hook that comes after the first step; it is told of once."""
    model = VAE()
    compiled = torch.compile(model, backend="eager")
    steps(compiled, recorded()[0], 1)
    monitor, memory = recorded(check_frequency=300)
    monitor.watch(compiled, "encoder")
    steps(compiled, monitor, 250)
    assert ["watch it before its first step" in told for told in warnings_in(caplog)] == [True]
    torch._dynamo.reset()
    steps(compiled, monitor, 50)
    assert samples(memory, "encoder") == 200
