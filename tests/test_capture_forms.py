"""What other people's modules return is read, whatever its form, and what is unclear is refused."""

import logging
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import (
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from collapse_logging.evidence import kind_of, sampled_form
from collapse_logging.forms import MEANINGS, Form, meaning, split_form
from collapse_logging.outputs import describe, posterior_of, recognised
from collapse_logging.probe import neighbours

from .parts import VAE, Twin, recorded, sampled, samples, steps, warnings_in

pytestmark = pytest.mark.usefixtures("windows_alone")

Pair = namedtuple("Pair", ["qz_m", "qz_v"])


@dataclass
class Output:
    """A small object of parts, as libraries return."""

    z: torch.Tensor
    loc: torch.Tensor
    std: torch.Tensor


class DiagonalGaussian:
    """As diffusers' DiagonalGaussianDistribution."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.mean, self.logvar = parameters.chunk(2, 1)
        self.std, self.var = (0.5 * self.logvar).exp(), self.logvar.exp()


class Holder:
    """As diffusers' AutoencoderKLOutput."""

    def __init__(self, latent_dist):
        self.latent_dist = latent_dist


def normal(mean, log_variance):
    """As everybody makes it."""
    return Normal(mean, (0.5 * log_variance).exp())


FORMS = {
    "pair": (lambda m, v: (m, v), lambda o: o[0], ""),
    "variance said": (lambda m, v: (m, v.exp()), lambda o: o[0], " as mean, variance"),
    "scale said": (lambda m, v: (m, (v / 2).exp()), lambda o: o[0], " as mean, scale"),
    "log-scale said": (lambda m, v: (m, v / 2), lambda o: o[0], " as mean, log_scale"),
    "order said": (lambda m, v: (v.exp(), 0, m), lambda o: o[2], " as variance, _, mean"),
    "place said": (lambda m, v: ((m, 1), v), lambda o: o[0][0], " as mean=0.0, log_variance=1"),
    "scale seen": (lambda m, v: (m, (0.5 * v).exp()), lambda o: o[0], ""),
    "root seen": (lambda m, v: (m, v.exp().sqrt() + 1e-9), lambda o: o[0], ""),
    "triple": (lambda m, v: (torch.zeros(4), m, v), lambda o: o[1], ""),
    "before others": (lambda m, v: (m, v, torch.zeros(4)), lambda o: o[0], ""),
    "list": (lambda m, v: [m, v], lambda o: o[0], ""),
    "mu logvar": (lambda m, v: {"mu": m, "logvar": v}, lambda o: o["mu"], ""),
    "mean log_var": (lambda m, v: {"x": 0, "log_var": v, "mean": m}, lambda o: o["mean"], ""),
    "loc scale": (lambda m, v: {"loc": m, "scale": (v / 2).exp()}, lambda o: o["loc"], ""),
    "embedding": (
        lambda m, v: OrderedDict(embedding=m, log_covariance=v),
        lambda o: o["embedding"],
        "",
    ),
    "q_m q_v": (lambda m, v: {"q_m": m, "q_v": v.exp()}, lambda o: o["q_m"], ""),
    "named tuple": (lambda m, v: Pair(m, v.exp()), lambda o: o.qz_m, ""),
    "object": (lambda m, v: Output(m, m, (v / 2).exp()), lambda o: o.loc, ""),
    "fields said": (
        lambda m, v: {"a": m, "inner": {"b": v / 2}},
        lambda o: o["a"],
        " as mean=a, log_scale=inner.b",
    ),
    "a number beside": (
        lambda m, v: {"mu": m, "logvar": v[:1].detach() * 0 - 1},
        lambda o: o["mu"],
        "",
    ),
    "Normal": (normal, lambda o: o.loc, ""),
    "Independent": (lambda m, v: Independent(normal(m, v), 1), lambda o: o.base_dist.loc, ""),
    "Normal and sample": (lambda m, v: (normal(m, v), m.detach()), lambda o: o[0].loc, ""),
    "Normal named": (lambda m, v: {"qz": normal(m, v), "z": 0}, lambda o: o["qz"].loc, ""),
    "distribution said": (
        lambda m, v: (normal(0 * m, v), normal(m, v)),
        lambda o: o[1].loc,
        " as distribution=1",
    ),
    "LogNormal": (lambda m, v: LogNormal(m, (v / 2).exp()), lambda o: o.loc, ""),
    "MultivariateNormal": (
        lambda m, v: MultivariateNormal(m, v.exp().diag_embed()),
        lambda o: o.loc,
        "",
    ),
    "LowRank": (
        lambda m, v: LowRankMultivariateNormal(m, torch.zeros(3, 1), v.exp()),
        lambda o: o.loc,
        "",
    ),
    "DiagonalGaussian": (
        lambda m, v: DiagonalGaussian(torch.cat([m, v], 1)),
        lambda o: o.mean,
        "",
    ),
    "latent_dist": (
        lambda m, v: Holder(DiagonalGaussian(torch.cat([m, v], 1))),
        lambda o: o.latent_dist.mean,
        "",
    ),
    "moments": (
        lambda m, v: torch.cat([m, v], -1),
        lambda o: o.chunk(2, -1)[0],
        " as moments",
    ),
    "moments on 1": (
        lambda m, v: torch.cat([m, v], 1),
        lambda o: o.chunk(2, 1)[0],
        " as moments on 1",
    ),
}
"""What an encoder makes of mean and log-variance, where its mean is then used, what is said."""

COMPILED = (
    *("variance said", "place said", "triple", "mu logvar", "embedding", "named tuple", "object"),
    *("Normal and sample", "LogNormal", "DiagonalGaussian", "moments", "moments on 1"),
)


class Speaking(VAE):
    """Its encoder returns a form of its mean and log-variance; the decoder uses the mean in it."""

    class Encoder(nn.Module):
        """Says it in its own way."""

        def __init__(self, say):
            super().__init__()
            self.moments, self.say = nn.Linear(6, 6), say

        def forward(self, x):
            mean, log_variance = self.moments(x).chunk(2, -1)
            return self.say(mean, log_variance * 1.0)

    def __init__(self, say, mean_in):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.mean_in = self.Encoder(say), mean_in
        self.decoder = nn.Linear(3, 6)

    def forward(self, x):
        return self.decoder(torch.tanh(self.mean_in(self.encoder(x))))


def trained(form, compiled=False, batch=4):
    """The report of a few steps, and the model."""
    say, mean_in, said = FORMS[form]
    model = Speaking(say, mean_in)
    monitor, memory = recorded(check_frequency=3)
    monitor.watch(model, {"z": f"encoder{said}"})
    if compiled:
        torch._dynamo.reset()
    run = torch.compile(model, backend="aot_eager") if compiled else model
    torch.manual_seed(1)
    steps(run, monitor, 3, batch)
    return memory.reports[0].latents["z"], [p.grad for p in model.parameters()]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form):
    """Measures, with the growth that is read in backward, are those of (mean, log_variance)."""
    latent, gradients = trained(form)
    plain, own = trained("pair")
    for name, value in plain.measures.items():
        if form == "a number beside" and name not in ("growth", "mean_variance", "samples"):
            continue
        assert latent.measures[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert np.isfinite(latent.per_unit["growth"]).all()
    for gradient, expected in zip(gradients, own, strict=True):
        if form != "a number beside":
            torch.testing.assert_close(gradient, expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("form", COMPILED)
def test_every_form_in_a_compiled_graph(form):
    """The same numbers under torch.compile, and the training's gradients are what they were."""
    latent, gradients = trained(form, compiled=True)
    plain, own = trained(form)
    for name in ("information", "kl", "samples", "mean_variance"):
        assert latent.measures[name] == pytest.approx(plain.measures[name], rel=1e-4, abs=1e-5)
    for gradient, expected in zip(gradients, own, strict=True):
        torch.testing.assert_close(gradient, expected)
    if "growth" in latent.measures:
        assert latent.measures["growth"] == pytest.approx(plain.measures["growth"], rel=1e-3)


def test_moments_of_channels():
    """[batch, 2 channels, height, width] is halved on the channels, with growth."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1))
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, {"z": "1 as moments"})
    for _ in range(2):
        moments = model(torch.randn(4, 1, 5, 5))
        mean, log_variance = moments.chunk(2, 1)
        (sampled(mean, log_variance) ** 2).mean().backward()
        monitor.step()
    latent = memory.reports[0].latents["z"]
    assert latent.per_unit["growth"].shape == (2,)
    assert np.isfinite(latent.per_unit["growth"]).all()


def test_moments_of_a_sequence_of_channels():
    """[batch, 2 units, positions], as of a Conv1d, is said with its axis."""
    moments = torch.randn(4, 6, 7, requires_grad=True)
    posterior = posterior_of(moments, Form("moments", axis=1))
    assert posterior.mean.shape == (4, 7, 3)
    torch.testing.assert_close(posterior.mean, moments[:, :3].transpose(1, 2))
    torch.testing.assert_close(posterior.log_variance, moments[:, 3:].transpose(1, 2))
    assert posterior.part(moments).shape == (4, 7, 3)


def test_laplace_is_read_by_its_variance():
    """In units in which Laplace(0, 1) has the variance 1; growth has no unit."""
    torch.manual_seed(0)
    loc = torch.randn(8, 3, requires_grad=True)
    posterior = posterior_of(Laplace(loc, torch.ones(8, 3)), Form("distribution"))
    torch.testing.assert_close(posterior.mean, loc / 2**0.5)
    torch.testing.assert_close(posterior.log_variance, torch.zeros(8, 3))
    growths = []
    for unit in (1.0, 2**-0.5):
        monitor, memory = recorded(check_frequency=3)
        torch.manual_seed(0)
        for _ in range(3):
            mean = (loc * unit).detach().requires_grad_()
            if unit == 1.0:
                monitor.observe("z", Laplace(mean, torch.ones(8, 3)))
            else:
                monitor.observe("z", mean, torch.zeros(8, 3))
            ((mean / unit + torch.rand(8, 3)) ** 3).sum().backward()
            monitor.step()
        growths.append(memory.reports[0].latents["z"].per_unit["growth"])
    assert np.isfinite(growths[0]).all()
    assert growths[0] == pytest.approx(growths[1], rel=1e-5)


# --- what stands beside the mean ---


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda x: x, "log_variance"),
        (lambda x: x.abs().detach() + 1, "log_variance"),
        (lambda x: x.clamp(-3, 3), "log_variance"),
        (lambda x: 4 - nn.functional.softplus(4 - x), "log_variance"),
        (lambda x: torch.zeros_like(x), "log_variance"),
        (lambda x: x.exp(), "unclear"),
        (lambda x: nn.functional.softplus(x) + 1e-4, "unclear"),
        (lambda x: nn.functional.elu(x) + 1.01, "unclear"),
        (lambda x: x.exp().clamp(min=1e-3).to(torch.bfloat16), "unclear"),
        (lambda x: x.exp().unsqueeze(1).expand(4, 2, 3).reshape(4, 6), "unclear"),
        (lambda x: x.sigmoid() * 2, "unclear"),
        (lambda x: (0.5 * x).exp(), "scale"),
        (lambda x: (x / 2).exp() + 1e-6, "scale"),
        (lambda x: nn.functional.softplus(x).sqrt(), "scale"),
        (lambda x: x.exp() ** 0.5, "scale"),
    ],
)
def test_what_stands_beside_the_mean_is_seen_in_its_making(make, kind):
    """No seed decides: a log-variance that happens to be positive is still one."""
    x = nn.functional.linear(torch.randn(4, 5), torch.randn(3, 5, requires_grad=True))
    assert kind_of(make(x)) == kind


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("first", ["z", "mean"])
@pytest.mark.parametrize("kind", ["log_variance", "variance", "scale"])
def test_a_sample_tells_what_the_other_two_are(seed, first, kind):
    """Of (z, mean, spread) and (mean, spread, z) by the residuals of the sample."""
    torch.manual_seed(seed)
    mean, log_variance = torch.randn(64, 8), 0.3 * torch.randn(64, 8) - 2.0
    z = sampled(mean, log_variance)
    spread = {"log_variance": log_variance, "variance": log_variance.exp()}.get(
        kind, (0.5 * log_variance).exp()
    )
    parts = (z, mean, spread) if first == "z" else (mean, spread, z)
    places = (1, 2) if first == "z" else (0, 1)
    assert sampled_form(parts) == (kind, *places)


def test_three_parts_that_are_no_sample_are_read_as_ever():
    """(reconstruction, mean, log_variance) of one shape."""
    mean = torch.randn(8, 3, requires_grad=True) * 1.0
    form = recognised((torch.randn(8, 3) * 9 + 40, mean, mean - 2.0))
    assert (form.kind, form.mean, form.spread) == ("log_variance", (1,), (2,))


def test_a_variance_or_a_scale_is_asked_for():
    """What can be either is refused at the first batch, with both ways to say it, which work."""
    model = Speaking(lambda m, v: (m, v.exp()), lambda o: o[0])
    monitor, memory = recorded(check_frequency=1)
    monitor.watch(model, {"z": "encoder"})
    with pytest.raises(TypeError, match=r"a variance or a scale.*as mean=0, variance=1") as told:
        steps(model, monitor, 1)
    form = str(told.value).split("PATH as ")[1].split("'")[0]
    monitor.watch(model, {"z": f"encoder as {form}"})
    steps(model, monitor, 1)
    assert samples(memory) == 4


def test_a_batch_is_looked_at_once(monkeypatch):
    """Making and values are asked at the first batch only."""
    asked = []
    seen = kind_of
    monkeypatch.setattr(
        "collapse_logging.outputs.kind_of", lambda spread: asked.append(1) or seen(spread)
    )
    model = Speaking(*FORMS["scale seen"][:2])
    monitor, memory = recorded(check_frequency=10)
    monitor.watch(model, "encoder")
    steps(model, monitor, 10)
    assert (asked, samples(memory, "encoder")) == ([1], 40)


# --- saying it ---


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("mu", "mean"),
        ("z_mean", "mean"),
        ("mu_z", "mean"),
        ("qzm", "mean"),
        ("qzv", "variance"),
        ("z_logvar", "log_variance"),
        ("log_sigma", "log_scale"),
        ("Log_Std", "log_scale"),
        ("z_scale", "scale"),
        ("latent_dist", "distribution"),
        ("prior_mean", None),
        ("p_mu", None),
        ("x", None),
    ],
)
def test_names_of_fields(field, kind):
    """The field's usual names are known, a prior's and others are not."""
    assert meaning(field) == kind


def test_no_name_means_two_things():
    """However names are put together, the plain ones keep their meaning."""
    plain = {"mean": "mean", "var": "variance", "std": "scale", "logvar": "log_variance"}
    assert {name: MEANINGS[name] for name in plain} == plain


@pytest.mark.parametrize(
    "said",
    [
        "mean",
        "mean, mean",
        "mean, sigma",
        "mean variance",
        "log_variance",
        "moments on",
        "moments on x",
        "distribution, mean",
        "",
    ],
)
def test_what_is_no_form_is_refused(said):
    """With all that can be said; before any batch."""
    monitor, _ = recorded()
    with pytest.raises(ValueError, match=r"expected after 'as' .*'encoder as mean, log_variance'"):
        monitor.watch(VAE(), f"encoder as {said}")


def test_a_path_with_a_form_is_named_by_its_path():
    """Alone and in a list; a mapping names it otherwise."""
    assert split_form("encoder as _, mean, scale")[0] == "encoder"
    model = Twin()
    monitor, memory = recorded(check_frequency=1)
    monitor.watch(model, ["encoder_a as mean, log_variance", "encoder_b"])
    steps(model, monitor, 1)
    assert list(memory.reports[0].latents) == ["encoder_a", "encoder_b"]


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ("mean=mu, scale=s", r"tuple\(one tensor \[4, 3\], one tensor \[4, 3\]\)"),
        ("moments", r"tuple\("),
        ("distribution", r"tuple\("),
    ],
)
def test_a_form_that_the_output_has_not(said, got):
    """Is refused at the first batch, with what came."""
    model = VAE()
    monitor, _ = recorded()
    monitor.watch(model, f"encoder as {said}")
    with pytest.raises(TypeError, match=f"parts that latents= says after 'as', got {got}"):
        steps(model, monitor, 1)


def test_a_description_names_the_parts():
    """Fields of dictionaries and objects, not more than five."""
    assert describe({"a": torch.zeros(2), "b": 1}) == "dict(a=one tensor [2], b=int)"
    assert describe([0] * 9) == "list(int, int, int, int, int)"
    assert describe(Normal(0.0, 1.0)) == "Normal"


@pytest.mark.parametrize("said", ["codes=quantized_indices of 5", "codes=quantized_indices of  5"])
def test_codes_of_a_codebook(said):
    """Indices in an output are a codebook's, of the size that is said."""

    class Quantizer(nn.Module):
        def forward(self, x):
            return {"quantized": x * 1.0, "quantized_indices": (x * 9).long() % 5}

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.quantizer, self.layer = Quantizer(), nn.Linear(6, 6)

        def forward(self, x):
            return self.quantizer(self.layer(x))["quantized"]

    model = Model()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, {"codes": f"quantizer as {said}"})
    steps(model, monitor, 2)
    assert 1.0 < memory.reports[0].latents["codes"].measures["perplexity"] <= 5.0


def test_what_are_no_codes_is_refused():
    """Numbers that are no indices."""
    monitor, _ = recorded()
    model = VAE()
    monitor.watch(model, "decoder as codes of 5")
    with pytest.raises(TypeError, match="'decoder': expected its module's output to have"):
        steps(model, monitor, 1)


# --- auto ---


class Hierarchy(Twin):
    """Two latents, a likelihood and a prior that all give (mean, log_variance); an LSTM cell."""

    def __init__(self):
        super().__init__()
        self.prior_net, self.decoder = type(self.encoder_a)(), type(self.encoder_a)(3, 6)
        self.cell = nn.LSTMCell(6, 6)

    def forward(self, x):
        hidden, _ = self.cell(x)
        a, b, prior = self.encoder_a(x + hidden), self.encoder_b(x), self.prior_net(x)
        mean, log_variance = self.decoder(a[0] + b[0] * prior[0])
        return mean * log_variance


def test_auto_watches_all_latents_and_says_why(caplog):
    """But no likelihood, no prior and no LSTM's state; growth from the first step on."""
    monitor, memory = recorded(check_frequency=2)
    model = Hierarchy()
    monitor.watch(model, "auto")
    with caplog.at_level(logging.WARNING):
        steps(model, monitor, 2)
    latents = memory.reports[0].latents
    assert list(latents) == ["encoder_a", "encoder_b"]
    assert all(samples(memory, name) == 8 for name in latents)
    assert all(np.isfinite(latent.per_unit["growth"]).all() for latent in latents.values())
    (told,) = warnings_in(caplog)
    assert "watching ['encoder_a', 'encoder_b']" in told
    assert "and not ['prior_net', 'decoder']" in told


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Linear(6, 6)), "no module of the model returned"),
        (Speaking(lambda m, v: (m, v.exp()), lambda o: o[0]), "a variance or a scale"),
    ],
)
def test_auto_goes_on_with_one_warning(model, why, caplog):
    """Where nothing can be watched nothing is said of the run's health either."""
    monitor, memory = recorded(check_frequency=50)
    monitor.watch(model, "auto")
    steps(model, monitor, 150)
    assert monitor.flush() is None
    assert memory.reports == []
    (told,) = warnings_in(caplog)
    assert "nothing is watched, and training goes on" in told
    assert why in told
    assert not any(module._forward_hooks for module in model.modules())


def test_a_wrapper_around_the_encoder_is_the_same_latent():
    """A module that makes a Normal of what an inner one returned is not a second candidate."""

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = VAE().encoder

        def forward(self, x):
            return normal(*self.inner(x))

    class Model(VAE):
        def __init__(self):
            super().__init__()
            self.encoder = Wrapper()

        def forward(self, x):
            return self.decoder(self.encoder(x).rsample())

    monitor, memory = recorded(check_frequency=1)
    model = Model()
    monitor.watch(model)
    steps(model, monitor, 1)
    assert list(memory.reports[0].latents) == ["encoder.inner"]


# --- dealing it, for the probe ---


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_dealt_to_the_neighbours(form):
    """The decoder is asked with the posterior of the sample before, in the form that it knows."""
    say, _, said = FORMS[form]
    mean, log_variance = torch.randn(4, 3), torch.randn(4, 3)
    output = say(mean, log_variance)
    found = split_form(f"encoder{said}")[1] or recognised(output)
    if found.kind == "log_variance" and "seen" in form:
        pytest.skip("constants have no making to be seen")
    dealt = posterior_of(neighbours(output), found)
    before = posterior_of(output, found)
    torch.testing.assert_close(dealt.mean, before.mean.roll(1, 0))
    torch.testing.assert_close(dealt.log_variance, before.log_variance.roll(1, 0))
    assert type(neighbours(output)) is type(output)
