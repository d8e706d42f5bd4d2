"""Watching a model that is compiled: one graph, nothing in it changed, everything counted once."""

import copy
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from .parts import VAE, CalledTwice, Encoder, recorded, sampled, samples, steps, warnings_in
from .test_capture import CheckpointedVAE, ListVAE

pytestmark = [
    # torch.compile itself, where a graph breaks
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),
    pytest.mark.usefixtures("windows_alone"),
]

COUNTERS = torch._dynamo.utils.counters
BATCHES = (32, 32, 17, 5)

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs g++")


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch._dynamo.reset()
    COUNTERS.clear()


Named = namedtuple("Named", "mean log_variance")


def distribution(mean, log_variance):
    """The posterior as torch has it."""
    return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)


class Returning(VAE):
    """Its encoder returns the posterior in a form of its own."""

    class Formed(Encoder):
        """Returns ``form(mean, log_variance)``."""

        def forward(self, x):
            return self.form(*super().forward(x))

    def __init__(self, form):
        super().__init__()
        self.encoder = self.Formed()
        self.encoder.form = form

    def forward(self, x):
        posterior = self.encoder(x)
        if isinstance(posterior, Independent):
            scale = posterior.base_dist.scale
            return self.decoder(posterior.rsample()), posterior.mean, 2 * scale.log()
        mean, log_variance = posterior[-2:]
        z = sampled(mean, log_variance) if len(posterior) == 2 else posterior[0]
        if z.ndim == 4:
            z = z.mean((2, 3))
        return self.decoder(z), mean, log_variance


FORMS = {
    "pair": lambda mean, log_variance: (mean, log_variance),
    "list": lambda mean, log_variance: [mean, log_variance],
    "named": Named,
    "distribution": distribution,
    "image": lambda mean, log_variance: tuple(
        part[:, :, None, None] * torch.linspace(1, 2, 4).reshape(2, 2)
        for part in (mean, log_variance)
    ),
}


def inside(mean, log_variance):
    """A module that draws its sample itself."""
    return sampled(mean, log_variance), mean, log_variance


def trained(make, latents, backend, watch=True, how="watched first"):
    """Four steps of the batches; the parameters after them, the report, how many graphs."""
    torch._dynamo.reset()
    COUNTERS.clear()
    torch.manual_seed(0)
    model = make()
    monitor, memory = recorded(check_frequency=4)
    if watch and how != "compiled first":
        monitor.watch(model, latents)
    compiled = model
    if backend and how == "in place":
        model.compile(backend=backend, fullgraph=True)
    elif backend:
        compiled = torch.compile(model, backend=backend, fullgraph=True)
    if watch and how == "compiled first":
        monitor.watch(compiled, latents)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in BATCHES:
        optimizer.zero_grad()
        out = compiled(torch.randn(batch, 6))
        sum((part**2).mean() for part in out).backward()
        optimizer.step()
        monitor.step()
    report = memory.reports[0] if watch else None
    return list(model.parameters()), report, COUNTERS["stats"]["unique_graphs"]


def assert_same_training(make, latents, backend, how="watched first"):
    """Watching changes no bit and adds no graph; gives the watched run's only latent."""
    unwatched, _, graphs = trained(make, latents, backend, watch=False, how=how)
    watched, report, watched_graphs = trained(make, latents, backend, how=how)
    for one, other in zip(unwatched, watched, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0)
    assert watched_graphs == graphs <= 2
    (latent,) = report.latents.values()
    return latent


def assert_alike(latent, eager):
    """Two ways of the same training give the same measures, growth among them."""
    assert latent.measures.keys() == eager.measures.keys()
    for measure, value in eager.measures.items():
        assert latent.measures[measure] == pytest.approx(value, rel=1e-4, abs=1e-5), measure
    assert latent.per_unit["growth"] == pytest.approx(eager.per_unit["growth"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("form", "latents"), [*((form, "encoder") for form in FORMS), ("pair", None)]
)
def test_one_graph_says_what_eager_says(form, latents):
    """In one graph, of whatever the module returns, every measure is the eager run's."""
    make = lambda: Returning(FORMS[form])  # noqa: E731
    latent = assert_same_training(make, latents, "aot_eager")
    assert latent.measures["samples"] == sum(BATCHES)
    assert_alike(latent, trained(make, latents, None)[1].latents["encoder"])


@pytest.mark.parametrize(
    ("how", "backend"),
    [
        ("compiled first", "eager"),
        ("compiled first", "aot_eager"),
        ("in place", "aot_eager"),
        pytest.param("watched first", "inductor", marks=needs_compiler),
    ],
)
def test_one_graph_however_it_is_compiled(how, backend):
    """Before watch or after it, in place or wrapped: no graph more, no bit changed."""
    latent = assert_same_training(VAE, "encoder", backend, how)
    assert latent.measures["samples"] == sum(BATCHES)
    assert np.isfinite(latent.per_unit["growth"]).all()


@pytest.mark.parametrize("latents", ["encoder", {"z": ""}])
def test_growth_that_stays_in_the_graph(latents, caplog):
    """A module that has used its mean already: all but growth is measured, and it is told once."""
    latent = assert_same_training(lambda: Returning(inside), latents, "aot_eager")
    assert latent.measures["samples"] == sum(BATCHES)
    assert "growth" not in latent.measures
    assert ["growth is left out" in told for told in warnings_in(caplog)] == [True]


@pytest.mark.parametrize("latents", ["encoder", None])
def test_nothing_is_compiled_again(latents):
    """Over modes and batch sizes as over checks, graphs are as many as unwatched."""
    graphs = []
    for watch in (False, True):
        torch._dynamo.reset()
        COUNTERS.clear()
        model = VAE()
        model.decoder = nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 6))  # reads the mode
        monitor, memory = recorded(check_frequency=4)
        if watch:
            monitor.watch(model, latents)
        compiled = torch.compile(model, backend="aot_eager")
        for batch in BATCHES * 5:
            steps(compiled, monitor, 1, batch)
            model.eval()
            with torch.no_grad():
                compiled(torch.randn(batch, 6))
            model.train()
        graphs.append(COUNTERS["stats"]["unique_graphs"])
        assert not COUNTERS["graph_break"]
    assert graphs[0] == graphs[1]
    assert samples(memory, "encoder") == 5 * sum(BATCHES)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "encoder"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_in_a_graph_counts_once(reentrant, whole):
    """Activation checkpointing in one graph is counted once, with growth."""

    class Checkpointed(CheckpointedVAE):
        def forward(self, x):
            if whole:
                return checkpoint(self.both, x, use_reentrant=reentrant)
            return self.decoder(checkpoint(self.encoder, x, use_reentrant=reentrant)[0])

    model = Checkpointed(reentrant, whole)
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    steps(compiled, monitor, 4)
    assert COUNTERS["stats"]["unique_graphs"] == 1
    assert samples(memory, "encoder") == 16
    assert np.isfinite(memory.reports[0].latents["encoder"].per_unit["growth"]).all()


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("part", ["encoder", "block"])
def test_checkpointing_around_a_graph_counts_once(reentrant, part):
    """Eager checkpointing runs a compiled part twice; it is counted once."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder()

        def forward(self, x):
            return torch.tanh(self.encoder(x)[0])

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.decoder = Block(), nn.Linear(3, 6)

        def forward(self, x):
            return self.decoder(checkpoint(self.block, x.requires_grad_(), use_reentrant=reentrant))

    model = Model()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, {"z": "block.encoder"})
    (model.block if part == "block" else model.block.encoder).compile(backend="aot_eager")
    steps(model, monitor, 1)  # of which the graph is built
    steps(model, monitor, 3)
    assert samples(memory) == 16


def test_micro_batches_and_several_forwards():
    """Each forward of a step counts, be it before one backward or before its own."""
    model = VAE()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, {"z": "encoder"})
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):
        loss = sum((compiled(torch.randn(8, 6))[0] ** 2).mean() for _ in range(3))
        loss.backward()
        for _ in range(2):
            (compiled(torch.randn(4, 6))[0] ** 2).mean().backward()
        monitor.step()
    assert samples(memory) == 2 * (3 * 8 + 2 * 4)
    assert COUNTERS["stats"]["unique_graphs"] == 2


def test_an_encoder_that_is_called_twice_in_a_graph():
    """Two calls in one graph are both counted, as they are in eager mode."""
    monitor, memory = recorded(check_frequency=2)
    model = CalledTwice()
    monitor.watch(model, "encoder")
    steps(torch.compile(model, backend="aot_eager", fullgraph=True), monitor, 2)
    assert samples(memory, "encoder") == 16


def test_a_compiled_training_step():
    """The loss in the graph, too: nothing of the model runs outside, and all is counted."""
    model = VAE()
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model, {"z": "encoder"})

    @torch.compile(backend="aot_eager", fullgraph=True)
    def loss(x):
        return sum((part**2).mean() for part in model(x))

    for _ in range(8):
        loss(torch.randn(4, 6)).backward()
        monitor.step()
    assert COUNTERS["stats"]["unique_graphs"] == 1
    assert samples(memory) == 32
    assert all(np.isfinite(r.latents["z"].per_unit["growth"]).all() for r in memory.reports)


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "in place"])
def test_an_encoder_that_is_compiled_alone(replaced):
    """A compiled part in an eager model is counted, with growth."""
    model = VAE()
    if replaced:
        model.encoder = torch.compile(model.encoder, backend="aot_eager")
    else:
        model.encoder.compile(backend="aot_eager")
    monitor, memory = recorded(check_frequency=4)
    monitor.watch(model, "encoder")
    steps(model, monitor, 4)
    assert COUNTERS["stats"]["unique_graphs"] == 1
    assert samples(memory, "encoder") == 16
    assert np.isfinite(memory.reports[0].latents["encoder"].per_unit["growth"]).all()


def test_copies_are_not_counted():
    """A deep copy and an average of a compiled model run, and are not in the report."""
    model = VAE()
    monitor, memory = recorded(check_frequency=8)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="aot_eager")
    steps(compiled, monitor, 2)
    for other in (
        copy.deepcopy(compiled),
        AveragedModel(compiled),
        torch.compile(copy.deepcopy(model), backend="aot_eager"),
    ):
        sum((part**2).mean() for part in other(torch.randn(9, 6))).backward()
        steps(compiled, monitor, 2)
    assert samples(memory, "encoder") == 8 * 4


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "eval"])
def test_validation_is_not_counted(mode):
    """A compiled model's other forwards are not the training's, before it as after it."""
    model = VAE()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):
        model.train(mode != "eval")
        with torch.no_grad() if mode == "no_grad" else torch.inference_mode(mode != "eval"):
            compiled(torch.randn(9, 6))
        model.train()
        steps(compiled, monitor, 2)
    assert samples(memory, "encoder") == 16


def test_one_sample_has_no_growth():
    """A batch of one cannot be centred: it counts, and its growth is left out."""
    model = VAE()
    monitor, memory = recorded(check_frequency=3)
    monitor.watch(model, "encoder")
    steps(torch.compile(model, backend="aot_eager"), monitor, 3, batch=1)
    assert samples(memory, "encoder") == 3
    assert "growth" not in memory.reports[0].latents["encoder"].measures


def test_a_frozen_encoder_stays_frozen():
    """Where the mean needs no gradient, watching does not make it need one."""
    model = VAE()
    model.encoder.requires_grad_(False)
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        reconstruction, mean, _ = compiled(torch.randn(4, 6))
        assert not mean.requires_grad
        reconstruction.sum().backward()
        monitor.step()
    assert samples(memory, "encoder") == 8


def test_a_closed_monitor_keeps_nothing():
    """After close the graph is built without the hooks, and keeps no batch."""
    model = VAE()
    monitor, memory = recorded(check_frequency=2)
    monitor.watch(model, "encoder")
    compiled = torch.compile(model, backend="aot_eager")
    steps(compiled, monitor, 2)
    (hook,) = model.encoder._forward_hooks.values()
    monitor.close()
    sum((part**2).mean() for part in compiled(torch.randn(4, 6))).backward()
    assert hook.trace.pop() == []
    assert samples(memory, "encoder") == 8


def test_a_single_tensor_is_refused():
    """A compiled module without a posterior is refused as an eager one is."""
    model = VAE()
    monitor, _ = recorded()
    monitor.watch(model, "decoder")
    with pytest.raises(TypeError, match=r"'decoder': expected its module to return .*one tensor"):
        torch.compile(model, backend="aot_eager")(torch.randn(4, 6))


@pytest.mark.parametrize("compiled_first", [False, True])
def test_a_list_that_is_filled_in_the_graph(compiled_first, caplog):
    """``_last_z_list`` of a compiled model is read; the mean's gradient stays in the graph."""
    model = ListVAE()
    monitor, memory = recorded(check_frequency=3)
    if not compiled_first:
        monitor.watch(model)
    compiled = torch.compile(model, backend="aot_eager")
    if compiled_first:
        monitor.watch(compiled)
    steps(compiled, monitor, 3)
    assert samples(memory) == 12
    assert "growth" not in memory.reports[0].latents["z"].measures
    assert ["growth is left out" in told for told in warnings_in(caplog)] == [True]


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")  # torch's own first capture
@pytest.mark.parametrize("latents", ["encoder", None])
def test_cuda_graphs_count_exactly(latents):
    """Replays of a CUDA graph, which overwrite what the last gave, are each counted once."""
    torch.manual_seed(0)
    model = VAE(units=3).cuda()
    monitor, memory = recorded(check_frequency=50)
    monitor.watch(model, latents)
    compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
    means = []
    for parameter in model.parameters():  # else the first gradient is the graph's own memory
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(50):
        for _ in range(2):  # micro-batches, so that a replay comes before the step is closed
            _, mean, _ = out = compiled(torch.randn(16, 6, device="cuda"))
            means.append(mean.detach().clone())
            sum((part**2).mean() for part in out).backward()
        monitor.step()
    monitor.flush()
    latent = memory.reports[0].latents["encoder"]
    assert COUNTERS["inductor"]["cudagraph_skips"] == 0
    assert latent.measures["samples"] == 50 * 2 * 16
    variance = torch.cat(means).var(0, unbiased=False).cpu().numpy()
    assert latent.per_unit["mean_variance"] == pytest.approx(variance, rel=1e-3)
    assert np.isfinite(latent.per_unit["growth"]).all()


@pytest.mark.parametrize(("said", "warned"), [("", True), (" as mean, variance", False)])
def test_what_may_be_a_variance_in_a_graph_is_told_once(said, warned, caplog):
    """There it is not seen how it was made; that all of many are positive is no chance."""

    class Positive(Encoder):
        def forward(self, x):
            mean, log_variance = super().forward(x)
            return mean, log_variance.exp()

    class Model(VAE):
        def __init__(self):
            super().__init__(units=8)
            self.encoder = Positive(units=8)

    model = Model()
    monitor, memory = recorded(check_frequency=3)
    monitor.watch(model, {"z": f"encoder{said}"})
    steps(torch.compile(model, backend="aot_eager"), monitor, 3)
    assert samples(memory) == 12
    assert ["read as a log-variance" in told for told in warnings_in(caplog)] == [True] * warned
