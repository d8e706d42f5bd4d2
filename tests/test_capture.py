"""Watching a model that was not changed: what is found, what counts and what does not."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.utils.checkpoint import checkpoint

from .parts import (
    VAE,
    CalledTwice,
    Encoder,
    Twin,
    losses,
    recorded,
    sampled,
    samples,
    steps,
    train,
    warnings_in,
)

pytestmark = pytest.mark.usefixtures("windows_alone")


class NormalVAE(VAE):
    """The module ``posterior`` returns a distribution; the model its reconstruction alone."""

    class Posterior(Encoder):
        """Returns a Normal."""

        def forward(self, x):
            mean, log_variance = super().forward(x)
            return Normal(mean, (0.5 * log_variance).exp())

    def __init__(self):
        super().__init__()
        self.encoder = self.Posterior()

    def forward(self, x):
        posterior = self.encoder(x)
        return self.decoder(posterior.rsample()), posterior.mean, 2 * posterior.stddev.log()


class ListVAE(VAE):
    """Keeps the manual's ``_last_z_list``; its encoder returns one tensor."""

    def __init__(self, latents=1):
        super().__init__()
        self.encoder, self.latents = nn.Linear(6, 6), latents

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        means = [mean * (i + 1) for i in range(self.latents)]
        self._last_z_list = [(sampled(m, log_variance), m, log_variance) for m in means]
        return {"x": self.decoder(sum(z for z, _, _ in self._last_z_list))}


class CheckpointedVAE(VAE):
    """Runs its encoder again in backward."""

    def __init__(self, reentrant, whole):
        super().__init__()
        self.reentrant, self.whole = reentrant, whole

    def forward(self, x):
        x = x.requires_grad_()
        if self.whole:
            return checkpoint(self.both, x, use_reentrant=self.reentrant)
        mean, _ = checkpoint(self.encoder, x, use_reentrant=self.reentrant)
        return self.decoder(mean)

    def both(self, x):
        mean, _ = self.encoder(x)
        return self.decoder(torch.tanh(mean))


class ReconstructionOnly(VAE):
    """Returns one tensor, so that only the encoder can be meant."""

    def forward(self, x):
        return super().forward(x)[0]


@pytest.mark.parametrize(
    ("latents", "names"),
    [
        ("encoder_a", ["encoder_a"]),
        (["encoder_a", "encoder_b"], ["encoder_a", "encoder_b"]),
        (("encoder_b",), ["encoder_b"]),
        ({"z": "encoder_a", "": "encoder_b"}, ["z", ""]),
        ({"all": ""}, ["all"]),
    ],
)
def test_paths(latents, names):
    """A path, a list or a mapping watches these modules under these names."""
    model = Twin()
    monitor, memory = recorded(check_frequency=3)
    assert monitor.watch(model, latents) is monitor
    steps(model, monitor, 3)
    assert sorted(memory.reports[0].latents) == sorted(names)
    assert all(samples(memory, name) == 12 for name in names)


def test_watching_says_what_observing_says():
    """The report of a watched encoder is that of the same means observed by hand."""
    reports = []
    for watch in (True, False):
        torch.manual_seed(0)
        model = VAE()
        monitor, memory = recorded(check_frequency=5)
        if watch:
            monitor.watch(model, {"z": "encoder"})
        train(model, monitor, 5, observe=not watch)
        reports.append(memory.reports[0])
    assert reports[0].to_dict() == reports[1].to_dict()
    assert np.isfinite(reports[0].latents["z"].per_unit["growth"]).all()


@pytest.mark.parametrize(
    ("make", "name"),
    [(VAE, "encoder"), (NormalVAE, "encoder"), (ReconstructionOnly, "encoder"), (ListVAE, "z")],
)
def test_the_one_candidate_is_found(make, name):
    """Without a path the one latent is found, once, with growth from the first step on."""
    model = make()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model)
    steps(model, monitor, 6)
    assert [list(report.latents) for report in memory.reports] == [[name]] * 3
    assert all(np.isfinite(r.latents[name].per_unit["growth"]).all() for r in memory.reports)
    assert samples(memory, name) == 24


def test_triples():
    """A module may return (reconstruction, mean, log_variance); it is the model itself here."""
    model = VAE()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, {"z": ""})
    steps(model, monitor, 2)
    assert samples(memory) == 8


def test_last_z_list_of_several():
    """Several entries of ``_last_z_list`` are z0, z1, ..., each with its growth."""
    model = ListVAE(latents=3)
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model)
    steps(model, monitor, 4)
    assert list(memory.reports[0].latents) == ["z0", "z1", "z2"]
    assert all(samples(memory, name) == 16 for name in ("z0", "z1", "z2"))
    model.eval()
    with torch.no_grad():
        model(torch.randn(4, 6))
    monitor.step()
    assert monitor.flush() is memory.reports[0]


def test_last_z_list_is_read_once(caplog):
    """A list that stays on the model is not read again in a step without a forward."""
    model = ListVAE()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model)
    steps(model, monitor, 1)
    monitor.step()
    monitor.step()
    monitor.flush()
    assert samples(memory) == 4
    assert warnings_in(caplog) == []


def test_last_z_list_beside_a_path():
    """A path that is given is watched alone: the model's ``_last_z_list`` is not counted too."""

    class Both(VAE):
        def forward(self, x):
            mean, log_variance = self.encoder(x)
            self._last_z_list = [(mean, mean * 1.0, log_variance)]
            return self.decoder(mean)

    model = Both()
    monitor, memory = recorded(check_frequency=3)
    monitor.watch(model, {"z": "encoder"})
    steps(model, monitor, 3)
    assert samples(memory) == 12
    assert list(memory.reports[0].latents) == ["z"]


def test_a_shared_module_has_two_paths():
    """A module that the model holds under two names may be watched by either."""
    model = Twin()
    model.encoder_b = model.encoder_a
    monitor, memory = recorded(check_frequency=1)
    monitor.watch(model, "encoder_b")
    steps(model, monitor, 1)
    assert samples(memory, "encoder_b") == 8


def test_watching_is_quiet(caplog):
    """A watched model that trains on gives no warning, however long it trains."""
    model = VAE()
    monitor, memory = recorded(check_frequency=250)
    monitor.watch(model)
    steps(model, monitor, 250)
    assert samples(memory, "encoder") == 1000
    assert warnings_in(caplog) == []


def not_counted(model, monitor, how):
    """One forward that is not the training's."""
    x = torch.randn(64, 6)
    if how == "no_grad":
        with torch.no_grad():
            model(x)
    elif how == "inference_mode":
        with torch.inference_mode():
            model(x)
    elif how == "eval":
        model.eval()
        model(x)
        model.train()
    elif how == "deepcopy":
        copy.deepcopy(model)(x)
    elif how == "shallow":
        copy.copy(model.encoder)(x)
    elif how == "pickle":
        pickle.loads(pickle.dumps(model))(x)
    elif how == "closed":
        monitor.close()
        model(x)


@pytest.mark.parametrize(
    "how", ["no_grad", "inference_mode", "eval", "deepcopy", "shallow", "pickle", "closed"]
)
@pytest.mark.parametrize("latents", [None, "encoder"])
@pytest.mark.parametrize("first", [True, False])
def test_not_counted(how, latents, first):
    """Other forwards than the training's are not in the report, before and after it began."""
    model = VAE()
    monitor, memory = recorded(check_frequency=50)
    monitor.watch(model, latents)
    if first and how != "closed":
        not_counted(model, monitor, how)
    steps(model, monitor, 3)
    not_counted(model, monitor, how)
    monitor.flush()
    assert samples(memory, "encoder") == 12


def test_hooks_are_gone_after_close_and_after_another_watch():
    """Closing leaves the model as it was; watching another model leaves the first."""
    model, other = VAE(), VAE()
    monitor, _ = recorded()
    monitor.watch(model)
    assert any(module._forward_hooks for module in model.modules())
    monitor.watch(other, "encoder")
    assert not any(module._forward_hooks for module in model.modules())
    assert len(other.encoder._forward_hooks) == 1
    monitor.close()
    assert not any(module._forward_hooks for module in other.modules())


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "encoder"])
@pytest.mark.parametrize("latents", ["encoder", None])
def test_checkpointing_counts_once(reentrant, whole, latents):
    """Activation checkpointing runs the encoder twice and is counted once, with growth."""
    model = CheckpointedVAE(reentrant, whole)
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model, latents)
    for _ in range(4):
        steps(model, monitor, 1)
        with torch.no_grad():
            model(torch.randn(9, 6))  # between the steps: not to be taken for a first run
    (latent,) = memory.reports[0].latents.values()
    assert latent.measures["samples"] == 16
    assert np.isfinite(latent.per_unit["growth"]).all()


def test_checkpointing_may_be_switched():
    """A model that changes between the kinds of checkpointing is counted once a step."""
    model = CheckpointedVAE(reentrant=True, whole=True)
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model, "encoder")
    for reentrant in (True, False, True, False):
        model.reentrant = reentrant
        steps(model, monitor, 1)
    assert samples(memory, "encoder") == 16


def test_a_shallow_copy_does_not_count():
    """A shallow copy shares the hooks; the copy's own forward is not the model's."""
    model = VAE()
    monitor, memory = recorded(check_frequency=50)
    monitor.watch(model, {"z": ""})
    steps(model, monitor, 1)
    shallow = copy.copy(model)
    assert shallow._forward_hooks is model._forward_hooks
    shallow(torch.randn(64, 6))
    monitor.step()
    monitor.flush()
    assert samples(memory) == 4


def test_a_module_that_is_shared_and_called_twice():
    """Two calls in a step are both counted."""
    monitor, memory = recorded(check_frequency=2)
    model = CalledTwice()
    monitor.watch(model, "encoder")
    steps(model, monitor, 2)
    assert samples(memory, "encoder") == 16


def test_watched_and_observed(caplog):
    """Doing both under one name counts once, and is told of once."""
    model = VAE()
    monitor, memory = recorded(check_frequency=3)
    monitor.watch(model, {"z": "encoder"})
    train(model, monitor, 3, observe=True)
    assert samples(memory) == 12
    assert len(warnings_in(caplog)) == 1


def test_saved_while_watched():
    """A watched model is pickled and saved whole, and the loaded one trains unwatched."""
    model = VAE()
    monitor, memory = recorded(check_frequency=50)
    monitor.watch(model, "encoder")
    steps(model, monitor, 1)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for loaded in (torch.load(file, weights_only=False), pickle.loads(pickle.dumps(model))):
        x = torch.randn(4, 6)
        torch.testing.assert_close(loaded.encoder(x), model.encoder.moments(x).chunk(2, -1))
        sum(losses(x, *loaded(x))).backward()
    assert model.state_dict().keys() == VAE().state_dict().keys()
    monitor.flush()
    assert samples(memory, "encoder") == 4


@pytest.mark.parametrize("latents", ["encoder", None])
def test_what_is_no_posterior_after_one_that_was(latents, caplog):
    """Hours into a training it is left out and told of once, instead of ending it."""

    class Sometimes(Encoder):
        odd = False

        def forward(self, x):
            both = super().forward(x)
            return both[0] if self.odd else both

    class Model(VAE):
        def __init__(self):
            super().__init__()
            self.encoder = Sometimes()

        def forward(self, x):
            out = self.encoder(x)
            return self.decoder(out if isinstance(out, torch.Tensor) else out[0])

    model = Model()
    monitor, memory = recorded(check_frequency=6)
    monitor.watch(model, latents)
    for odd in (False, True, True, False, True, False):
        model.encoder.odd = odd
        steps(model, monitor, 1)
    assert samples(memory, "encoder") == 12
    (told,) = warnings_in(caplog)
    assert "got one tensor [4, 3]" in told
    assert "gave a posterior before" in told
