"""The decoder probe: what it measures, when it is asked, and that it leaves no trace."""

import collections
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from collapse_logging import CollapseMonitor, Level
from collapse_logging.capture import Capture
from collapse_logging.probe import Probe, neighbours

from .parts import Encoder, gaussian, recorded, sampled, samples, warnings_in
from .test_capture import ListVAE

Pair = collections.namedtuple("Pair", "mean log_variance")
NOISE = -8.0
"""ln sigma^2 of posteriors that are nearly points."""


class Mirror(nn.Module):
    """Its mean is the input and its decoder gives the latent back: the gap has a closed form."""

    def __init__(self, form=tuple):
        super().__init__()
        self.encoder = Shaped(form)

    def forward(self, x):
        return draw(self.encoder(x))

    def loss(self, x):
        return ((self(x) - x) ** 2).sum(-1)


class Shaped(nn.Module):
    """Gives the posterior in one of the forms that may be captured."""

    def __init__(self, form):
        super().__init__()
        self.form, self.scale = form, nn.Parameter(torch.ones(()))

    def forward(self, x):
        mean, log_variance = self.scale * x, torch.full_like(x, NOISE)
        normal = Normal(mean, (0.5 * log_variance).exp())
        return {
            "tuple": lambda: (mean, log_variance),
            "list": lambda: [mean, log_variance],
            "named tuple": lambda: Pair(mean, log_variance),
            "sample, mean, log variance": lambda: (mean + 0.0, mean, log_variance),
            "normal": lambda: normal,
            "independent": lambda: Independent(normal, 1),
        }[self.form]()


def draw(posterior):
    """A sample of a posterior in any form."""
    if isinstance(posterior, torch.distributions.Distribution):
        return posterior.rsample()
    return sampled(*posterior[-2:])


class Busy(nn.Module):
    """A VAE with all that a pass could disturb: batch norm, dropout, buffers, random numbers."""

    def __init__(self, ignores=False):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), Encoder(8)
        )
        self.decoder = nn.Linear(3, 6)
        self.register_buffer("passes", torch.zeros(()))
        self.ignores = ignores

    def forward(self, x):
        self.passes = self.passes + 1  # replaced, not changed in place
        mean, log_variance = self.encoder(x)
        z = sampled(mean, log_variance)
        return self.decoder(torch.zeros_like(z) if self.ignores else z), mean, log_variance

    def reconstruction(self, x):
        return ((self(x)[0] - x) ** 2).sum(-1)

    def loss(self, x):
        reconstruction, mean, log_variance = self(x)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        return ((reconstruction - x) ** 2).sum(-1) + kl


def data(rows=32, seed=0):
    """A batch."""
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))


def gaps(model, batch, latents="encoder", loss=None):
    """Per latent gap and error, asked once."""
    capture = Capture(model, latents, lambda name, posterior: None)
    found = Probe(loss or model.loss, strict=True).ask(capture, batch)
    capture.remove()
    return {name: tuple(values.tolist()) for name, values in found.items()}


def trained(model, monitor, count, batch=32, ask=True):
    """Trains a model; gives its random numbers, parameters, gradients and buffers at the end."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(count):
        x = data(batch, step)
        optimizer.zero_grad()
        model.loss(x).mean().backward()
        optimizer.step()
        monitor.step(batch=x if ask else None)
    ends = {f"{name}.grad": p.grad for name, p in model.named_parameters()}
    return {**model.state_dict(), **ends, "random": torch.get_rng_state()}


# --- what it measures ---


@pytest.mark.parametrize(
    "form",
    ["tuple", "list", "named tuple", "sample, mean, log variance", "normal", "independent"],
)
def test_the_gap_has_its_closed_form(form):
    """Where the latent is the picture, its neighbour's costs the distance between the two."""
    x = data()
    ((gap, error),) = gaps(Mirror(form), x).values()
    distance = ((x - x.roll(1, 0)) ** 2).sum(-1)
    assert gap == pytest.approx(float(distance.mean()), rel=0.02)
    assert error == pytest.approx(float(distance.std()) / math.sqrt(32), rel=0.05)
    assert gap > 8.0 * error


def test_a_decoder_that_ignores_the_latent_has_no_gap():
    """Exactly none: both passes see the same random numbers."""
    torch.manual_seed(0)
    model = Busy(ignores=True)
    assert gaps(model, data(), loss=model.reconstruction) == {"encoder": (0.0, 0.0)}


def test_a_kl_in_the_loss_only_widens_the_error():
    """It is dealt with the posterior, and the sum over the batch stays as it was."""
    torch.manual_seed(0)
    ((gap, error),) = gaps(Busy(ignores=True), data()).values()
    assert gap == pytest.approx(0.0, abs=1e-5)
    assert error > 0.1


def test_each_latent_is_dealt_alone():
    """Of two latents, one of which the decoder reads, only that one has a gap."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = Shaped("tuple"), Shaped("tuple")

        def loss(self, x):
            z, _ = draw(self.used(x)), draw(self.unused(x))
            return ((z - x) ** 2).sum(-1)

    found = gaps(Two(), data(), {"a": "used", "b": "unused"})
    assert found["a"][0] > 8.0 * found["a"][1]
    assert found["b"] == (0.0, 0.0)


def test_it_is_in_the_report_and_told_to_be_there():
    """``decoder_gap`` and its error are measures of the check at which it was asked."""
    model = Mirror("tuple")
    monitor, memory = recorded(check_frequency=1, probe=model.loss)
    monitor.watch(model, "encoder")
    trained(model, monitor, 11)
    asked = [r.step for r in memory.reports if "decoder_gap" in r.latents["encoder"].measures]
    assert asked == [10]
    measures = memory.reports[9].latents["encoder"].measures
    assert measures["decoder_gap"] > 8.0 * measures["decoder_gap_error"] > 0.0
    assert "collapse/encoder/decoder_gap" in memory.reports[9].scalars()


@pytest.mark.parametrize("output", [torch.arange(6.0).reshape(3, 2), (torch.ones(3), "x", None)])
def test_what_is_dealt_keeps_its_form(output):
    """Tensors go to the next row; whatever is no tensor stays."""
    dealt = neighbours(output)
    assert type(dealt) is type(output)
    if isinstance(output, tuple):
        assert dealt[1:] == output[1:]
    else:
        assert dealt.tolist() == [[4.0, 5.0], [0.0, 1.0], [2.0, 3.0]]


def test_what_is_not_of_the_samples_stays():
    """A scale that all samples share is not dealt; what is a sample's is."""
    dealt = neighbours(MultivariateNormal(torch.arange(3.0)[:, None].expand(3, 2), torch.eye(2)))
    assert dealt.mean[:, 0].tolist() == [2.0, 0.0, 1.0]
    assert torch.equal(dealt.covariance_matrix, torch.eye(2).expand(3, 2, 2))


# --- it leaves no trace ---


@pytest.mark.parametrize("ignores", [False, True])
def test_training_is_the_same_with_and_without(ignores):
    """Random numbers, parameters, gradients, running means and counters, bit for bit."""
    ends = []
    for probe in (False, True):
        torch.manual_seed(1)
        model = Busy(ignores)
        asked = []

        def loss(batch, model=model, asked=asked):
            asked.append(len(batch))
            return model.reconstruction(batch)

        monitor, _ = recorded(check_frequency=1, probe=loss if probe else None)
        monitor.watch(model, "encoder")
        ends.append(trained(model, monitor, 25))
        assert len(asked) >= 4 if probe else not asked
    without, with_probe = ends
    assert without.keys() == with_probe.keys()
    for name, value in without.items():
        assert torch.equal(value, with_probe[name]), name
    assert without["passes"] == 25


def test_modes_are_as_they_were():
    """A callable that evaluates in ``eval()`` does not leave the training in it."""
    model = Busy()
    model.encoder[1].eval()
    modes = [module.training for module in model.modules()]

    def loss(batch):
        model.eval()
        return model.loss(batch)

    gaps(model, data(), loss=loss)
    assert [module.training for module in model.modules()] == modes


def test_a_probe_that_fails_leaves_no_trace_either():
    """Modes, buffers and random numbers come back, and the hook deals nothing any more."""
    model = Busy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()

    def loss(batch):
        model.eval().loss(batch)
        model.encoder[1].running_mean.zero_().add_(7.0)
        raise RuntimeError("mine")

    capture = Capture(model, "encoder", lambda name, posterior: None)
    with pytest.raises(RuntimeError, match="mine"):
        Probe(loss, strict=True).ask(capture, data())
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not capture.swap.probing


@pytest.mark.parametrize("grad", [False, True])
def test_its_passes_are_not_counted(grad):
    """Samples and growth are those of training alone, be the callable's passes with gradient."""
    reports = []
    for probe in (False, True):
        torch.manual_seed(1)
        model = Busy()

        def loss(batch, model=model):
            with torch.set_grad_enabled(grad):
                return model.reconstruction(batch)

        monitor, memory = recorded(check_frequency=4, probe=loss if probe else None)
        monitor.watch(model, "encoder")
        trained(model, monitor, 60)
        reports.append(memory.reports)
        assert samples(memory, "encoder") == 60 * 32
    for without, with_probe in zip(*reports, strict=True):
        measures = dict(with_probe.latents["encoder"].measures)
        for name in ("decoder_gap", "decoder_gap_error"):
            measures.pop(name, None)
        assert measures == without.latents["encoder"].measures
        np.testing.assert_array_equal(
            with_probe.latents["encoder"].per_unit["growth"],
            without.latents["encoder"].per_unit["growth"],
        )


# --- when it is asked ---


def test_it_is_asked_at_every_tenth_check():
    """Of a healthy latent, and at no other."""
    model, asked = Mirror("tuple"), []

    def loss(batch):
        asked.append(monitor._delivery.judge.checks)
        return model.loss(batch)

    monitor, _ = recorded(check_frequency=2, probe=loss)
    monitor.watch(model, "encoder")
    trained(model, monitor, 62)
    assert sorted(set(asked)) == [9, 19, 29]


def test_it_is_asked_before_red_is_confirmed():
    """A red level that is reached step by step has been probed, and says so."""
    torch.manual_seed(0)
    model = Busy(ignores=True)
    monitor, memory = recorded(check_frequency=5, probe=model.reconstruction)
    monitor.watch(model, "encoder")
    trained(model, monitor, 200)
    red = next(alert for alert in memory.alerts if alert.level is Level.RED)
    assert red.probed
    assert "not confirmed" not in red.text
    assert any(indicator.name == "decoder_ignores_latent" for indicator in red.indicators)


# --- what cannot be asked ---


def test_one_sample_has_no_neighbour():
    """A batch of one gives no gap, and no complaint."""
    assert gaps(Mirror("tuple"), data(1)) == {}
    model = Mirror("tuple")
    monitor, memory = recorded(check_frequency=1, probe=model.loss)
    monitor.watch(model, "encoder")
    trained(model, monitor, 12, batch=1)
    assert not any("decoder_gap" in r.latents["encoder"].measures for r in memory.reports)


SCALAR = (lambda model: lambda batch: model.loss(batch).mean(), r"\[batch\], got \[\]; sum over")
PIXELS = (lambda model: lambda batch: model(batch), r"\[batch\], got \[32, 6\]; sum over")
PYTHON = (lambda model: lambda batch: float(model.loss(batch).mean()), "got float; sum over")
RAISES = (lambda model: lambda batch: batch["image"], "indices")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("make", "told"), [SCALAR, PIXELS, PYTHON, RAISES], ids=["scalar", "pixels", "float", "raises"]
)
def test_a_callable_that_fails_is_told_of_once(make, told, strict, caplog):
    """What it should give is said, it is asked no more and training goes on; strict raises."""
    model = Mirror("tuple")
    monitor = CollapseMonitor(check_frequency=1, verbose=False, strict=strict, probe=make(model))
    monitor.watch(model, "encoder")
    if strict:
        with pytest.raises((ValueError, IndexError), match=told):
            trained(model, monitor, 10)
        return
    trained(model, monitor, 35)
    (message,) = warnings_in(caplog)
    assert "the decoder probe failed" in message
    assert monitor.report.step == 35
    (record,) = (r for r in caplog.records if r.exc_info)
    assert told is RAISES[1] or record.exc_info[0] is ValueError


@pytest.mark.parametrize("why", ["no batch", "last_z_list", "observe"])
def test_what_it_needs_is_told(why, caplog):
    """A batch given to step, and a watched module whose output can be dealt."""
    model = ListVAE() if why == "last_z_list" else Mirror("tuple")
    monitor = CollapseMonitor(check_frequency=1, verbose=False, probe=lambda batch: batch.sum(-1))
    if why == "last_z_list":
        monitor.watch(model)
        for _ in range(12):
            (model(data())["x"] ** 2).mean().backward()
            monitor.step(batch=data())
    elif why == "no batch":
        monitor.watch(model, "encoder")
        trained(model, monitor, 12, ask=False)
    else:
        for step in range(12):
            monitor.observe("z", *gaussian((40, 3), step))
            monitor.step(batch=data())
    (record,) = (r for r in caplog.records if r.exc_info)
    assert "watch(model, latents=...) by the path of a module" in str(record.exc_info[1])


def test_what_is_no_callable_is_refused():
    """When the monitor is made, with what to write."""
    with pytest.raises(TypeError, match="probe: expected a callable .*got 3; write probe=model"):
        CollapseMonitor(probe=3)


# --- compiled ---


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_model_can_be_probed():
    """Its hook deals as ever, and training goes on with what was compiled."""
    torch._dynamo.reset()
    model = Mirror("tuple")
    compiled = torch.compile(model, backend="eager")

    def loss(x):
        return ((compiled(x) - x) ** 2).sum(-1)

    monitor, memory = recorded(check_frequency=1, probe=loss)
    monitor.watch(compiled, "encoder")
    for step in range(12):
        x = data(seed=step)
        loss(x).mean().backward()
        monitor.step(batch=x)
    measures = memory.reports[9].latents["encoder"].measures
    assert measures["decoder_gap"] > 8.0 * measures["decoder_gap_error"] > 0.0
    assert [r.latents["encoder"].measures["samples"] for r in memory.reports] == [32] * 12
    torch._dynamo.reset()
