"""What cannot be watched is refused, with what to do instead."""

import pytest
import torch
from torch import nn

from .parts import VAE, Encoder, Twin, recorded, samples, steps

pytestmark = pytest.mark.usefixtures("windows_alone")


@pytest.mark.parametrize("latents", ["encodr", ["encoder", "encodr"], {"z": "encodr"}])
def test_unknown_path(latents):
    """A path that no module has is refused with the nearest one and the candidates."""
    monitor, _ = recorded()
    model = VAE()
    with pytest.raises(ValueError, match=r"no module 'encodr' in VAE.*latents='encoder'.*Candid"):
        monitor.watch(model, latents)


@pytest.mark.parametrize("latents", [3, [], {}, [1], {"z": None}, [["encoder"]]])
def test_latents_of_the_wrong_type(latents):
    """What is no path is refused, with the three forms that are."""
    monitor, _ = recorded()
    with pytest.raises(TypeError, match="latents: expected a module path, a list of paths"):
        monitor.watch(VAE(), latents)


def test_a_refused_watch_changes_nothing():
    """After an unknown path no hook of the other paths stays, and the watch before goes on."""
    monitor, memory = recorded(check_frequency=1)
    first, model = VAE(), VAE()
    monitor.watch(first, "encoder")
    with pytest.raises(ValueError, match="no module"):
        monitor.watch(model, ["encoder", "encodr"])
    assert not any(module._forward_hooks for module in model.modules())
    steps(first, monitor, 1)
    assert samples(memory, "encoder") == 4


@pytest.mark.parametrize("model", [None, "vae", Encoder, nn.DataParallel(nn.Linear(1, 1))])
def test_not_a_module(model):
    """What cannot be watched is refused, DataParallel with what to use instead."""
    monitor, _ = recorded()
    with pytest.raises(TypeError, match=r"model: expected a torch.nn.Module, got .*Distributed"):
        monitor.watch(model, "encoder")


def test_several_candidates():
    """Two modules that could be meant are listed in a form to paste, which then works."""
    model = Twin()
    monitor, memory = recorded(check_frequency=1)
    monitor.watch(model)
    told = r"latents=\['encoder_a', 'encoder_b'"
    with pytest.raises(ValueError, match=told):
        steps(model, monitor, 1)
    assert not any(module._forward_hooks for module in model.modules())
    monitor.watch(model, ["encoder_a", "encoder_b"])
    steps(model, monitor, 1)
    assert len(memory.reports[0].latents) == 2


def test_no_candidate():
    """A model without a posterior is refused at its first step, with what to do."""
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    monitor, _ = recorded(check_frequency=1)
    monitor.watch(model)
    with pytest.raises(ValueError, match=r"no module of the model returned.*monitor.observe"):
        steps(model, monitor, 1)


@pytest.mark.parametrize("path", ["decoder", "encoder.moments"])
def test_single_tensor(path):
    """A module that returns one tensor is refused at its forward, with what to do."""
    monitor, _ = recorded()
    model = VAE()
    monitor.watch(model, path)
    with pytest.raises(TypeError, match=rf"'{path}': expected its module to return .*one tensor"):
        model(torch.randn(4, 6))
