"""On an NVIDIA GPU: the same numbers as on the CPU, no wait, and training as it was."""

import contextlib
import copy

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from collapse_logging.families import Bernoulli, Categorical, Codebook

from .parts import VAE, gaussian, losses, recorded, samples
from .test_probe import Mirror

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.usefixtures("windows_alone"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),
]

CHECK = 5


@contextlib.contextmanager
def no_wait():
    """CUDA raises whatever waits for it within."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def batch_of(*shape, seed, device, dtype=torch.float32):
    """A posterior whose mean has a gradient."""
    mean, log_variance = (side.to(device) for side in gaussian(shape, seed, dtype=dtype))
    return mean.requires_grad_(), log_variance


def pulled(*means):
    """A loss whose gradient shrinks the means."""
    return sum((mean.float() ** 2).sum() for mean in means)


def one(observe, seed, device):
    """One latent."""
    mean, log_variance = batch_of(16, 4, seed=seed, device=device)
    observe("z", mean, log_variance)
    return pulled(mean)


def several(observe, seed, device):
    """Three latents of different sizes side by side."""
    means = []
    for name, units in (("a", 3), ("b", 7), ("c", 130)):
        mean, log_variance = batch_of(16, units, seed=seed, device=device)
        observe(name, mean, log_variance)
        means.append(mean)
    return pulled(*means)


def bfloat16(observe, seed, device):
    """In half precision."""
    mean, log_variance = batch_of(16, 4, seed=seed, device=device, dtype=torch.bfloat16)
    observe("z", mean, log_variance)
    return pulled(mean)


def uneven(observe, seed, device):
    """Batches of many sizes, one sample among them."""
    mean, log_variance = batch_of(1 + seed % 4, 4, seed=seed, device=device)
    observe("z", mean, log_variance)
    return pulled(mean)


def micro_batches(observe, seed, device):
    """Three micro-batches in each optimiser step, each with its backward."""
    for micro in range(3):
        mean, log_variance = batch_of(16, 4, seed=100 * seed + micro, device=device)
        observe("z", mean, log_variance)
        if micro < 2:
            pulled(mean).backward()
    return pulled(mean)


def masked_sequence(observe, seed, device):
    """Positions, of which some are padding."""
    mean, log_variance = batch_of(8, 6, 4, seed=seed, device=device)
    mask = torch.arange(6) < torch.tensor([[1], [2], [3], [4], [5], [6], [6], [0]])
    observe("z", mean, log_variance, mask=mask.to(device))
    return pulled(mean)


def image(observe, seed, device):
    """A latent of channels, height and width."""
    mean, log_variance = batch_of(8, 4, 3, 3, seed=seed, device=device)
    observe("z", mean, log_variance)
    return pulled(mean)


def with_prior(observe, seed, device):
    """A conditional prior, as a distribution."""
    mean, log_variance = batch_of(16, 4, seed=seed, device=device)
    prior, spread = gaussian((16, 4), seed=seed + 1000)
    prior = Normal(prior.to(device), spread.exp().to(device), validate_args=False)
    observe("z", mean, log_variance, prior=prior)
    return pulled(mean)


def nonfinite(observe, seed, device):
    """NaN in one unit of one batch."""
    mean, log_variance = batch_of(16, 4, seed=seed, device=device)
    if seed == 2:
        log_variance[3, 1] = float("nan")
    observe("z", mean, log_variance)
    return pulled(mean)


def categorical(observe, seed, device):
    """Three variables of five classes."""
    logits = gaussian((16, 3, 5), seed)[0].to(device).requires_grad_()
    observe("z", Categorical(logits))
    return pulled(logits)


def bernoulli(observe, seed, device):
    """Binary units."""
    logits = gaussian((16, 5), seed)[0].to(device).requires_grad_()
    observe("z", Bernoulli(logits))
    return pulled(logits)


def codebook(observe, seed, device):
    """Indices."""
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randint(12, (16, 6), generator=generator)
    observe("z", Codebook(indices.to(device), 16))
    return torch.zeros((), device=device, requires_grad=True)


WAYS = (
    *(one, several, bfloat16, uneven, micro_batches, masked_sequence, image, with_prior),
    *(nonfinite, categorical, bernoulli, codebook),
)
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def run(way, device, steps=4 * CHECK, watched=contextlib.nullcontext, monitor=None, start=0):
    """So many steps; the memory that was written to."""
    monitor, memory = monitor or recorded(check_frequency=CHECK, observe_every=1)

    def observe(*given, **how):
        with watched():
            monitor.observe(*given, **how)

    for seed in range(start, start + steps):
        loss = way(observe, seed, device)
        loss.backward()
        loss = loss.detach()
        with watched():
            monitor.step(reconstruction_loss=loss, beta=loss)
    return monitor, memory


@ways
def test_the_numbers_are_those_of_the_cpu(way):
    """Every measure and every value by unit, to the precision of fp32 sums."""
    found = []
    for device in ("cpu", "cuda"):
        monitor, memory = run(way, device)
        monitor.flush()
        found.append(memory.reports)
    assert [r.step for r in found[0]] == [CHECK * n for n in (1, 2, 3, 4)]
    assert all(counted(reports) > 0 for reports in found)
    # on the GPU windows may merge: what is compared is the window that both have
    theirs = {report.step: report for report in found[1]}
    assert CHECK in theirs
    for name, latent in found[0][0].latents.items():
        other = theirs[CHECK].latents[name]
        for key, value in latent.measures.items():
            if not key.startswith("mutual"):  # its samples are drawn at random
                assert other.measures[key] == pytest.approx(
                    value, rel=2e-3, abs=1e-5, nan_ok=True
                ), key
        for key, values in latent.per_unit.items():
            np.testing.assert_allclose(
                other.per_unit[key], values, rtol=2e-3, atol=1e-5, err_msg=key
            )


@ways
def test_nothing_waits(way):
    """After the first check, no call of ours waits for the device; nothing is lost."""
    monitor, memory = run(way, "cuda", 2 * CHECK)
    torch.cuda.synchronize()
    run(way, "cuda", 6 * CHECK, no_wait, (monitor, memory), start=2 * CHECK)
    monitor.flush()
    _, others = whole(way, range(8 * CHECK))
    assert counted(memory.reports) == counted(others.reports)


def counted(reports):
    """Samples of all latents over all reports."""
    return sum(x.measures["samples"] for report in reports for x in report.latents.values())


def whole(way, seeds):
    """These steps on the CPU, in one window."""
    made = recorded(check_frequency=len(seeds), observe_every=1)
    monitor, memory = run(way, "cpu", len(seeds), monitor=made, start=seeds[0])
    monitor.flush()
    return monitor, memory


@ways
def test_a_run_goes_on_from_its_state(way):
    """A state that was saved in the middle of a window on the GPU, loaded on either device."""
    monitor, _ = run(way, "cuda", CHECK + 2)
    state = copy.deepcopy(monitor.state_dict())
    for device in ("cuda", "cpu"):
        again, others = recorded(check_frequency=CHECK, observe_every=1)
        again.load_state_dict(state)
        run(way, device, CHECK - 2, monitor=(again, others), start=CHECK + 2)
        again.flush()
        (report,) = others.reports
        assert report.step == 2 * CHECK
        _, expected = whole(way, range(CHECK, 2 * CHECK))
        assert counted(others.reports) == counted(expected.reports)


@pytest.mark.parametrize("compiled", [False, True])
def test_training_is_the_same_with_and_without(compiled):
    """Parameters and both random streams: to the bit, and in a graph to rounding.

    What is kept of a graph may make the compiler fuse its kernels in another way.
    """
    ends = []
    for watches in (False, True):
        torch.manual_seed(0)
        model = VAE().cuda()
        monitor = recorded(check_frequency=CHECK)[0] if watches else None
        if monitor:
            monitor.watch(model, "encoder")
        forward = torch.compile(model) if compiled else model
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(4 * CHECK):
            x = torch.randn(32, 6, device="cuda")
            loss = sum(losses(x, *forward(x)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if monitor:
                monitor.step(reconstruction_loss=loss.detach())
        if monitor:
            monitor.flush()
            assert monitor.report is not None
            monitor.close()
        torch._dynamo.reset()
        ends.append([torch.cuda.get_rng_state(), torch.get_rng_state(), *model.parameters()])
    for at, (mine, other) in enumerate(zip(*ends, strict=True)):
        if compiled and at > 1:
            torch.testing.assert_close(mine, other)
        else:
            assert torch.equal(mine, other)


def test_mixed_precision_with_a_scaler():
    """fp16 with a gradient scaler: the samples are all there, growth is finite."""
    model = VAE().cuda()
    monitor, memory = recorded(check_frequency=CHECK)
    monitor.watch(model, "encoder")
    optimizer, scaler = torch.optim.SGD(model.parameters(), 0.01), torch.amp.GradScaler("cuda")
    for _ in range(3 * CHECK):
        x = torch.randn(16, 6, device="cuda")
        with torch.autocast("cuda", torch.float16):
            loss = sum(losses(x, *model(x)))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        monitor.step()
    monitor.flush()
    assert samples(memory, "encoder") == 3 * CHECK * 16
    assert np.isfinite(memory.reports[-1].latents["encoder"].per_unit["growth"]).all()


def test_a_model_that_moves_takes_its_sums_along():
    """From the CPU to the GPU and back in the middle of a window."""
    monitor, memory = recorded(check_frequency=9, observe_every=1)
    for start, device in ((0, "cpu"), (3, "cuda"), (6, "cpu")):
        run(several, device, 3, monitor=(monitor, memory), start=start)
    monitor.flush()
    assert {
        n: x.measures["samples"] for n, x in memory.reports[0].latents.items()
    } == dict.fromkeys("abc", 9 * 16)


def test_another_stream():
    """A training on a stream of its own is counted whole."""
    with torch.cuda.stream(torch.cuda.Stream()):
        monitor, memory = run(one, "cuda")
        monitor.flush()
    assert samples(memory) == 4 * CHECK * 16


def test_the_probe_leaves_no_trace():
    """The gap has its closed form on the GPU too, and its random stream is as it was."""
    model, x = Mirror("tuple").cuda(), torch.randn(32, 4, device="cuda")
    monitor, memory = recorded(check_frequency=1, probe=model.loss)
    monitor.watch(model, "encoder")
    for _ in range(40):
        model.loss(x).mean().backward()
        before = torch.cuda.get_rng_state()
        monitor.step(batch=x)
        assert torch.equal(torch.cuda.get_rng_state(), before)
    monitor.flush()
    measures = [report.latents["encoder"].measures for report in memory.reports]
    gaps = [found["decoder_gap"] for found in measures if "decoder_gap" in found]
    distance = float(((x - x.roll(1, 0)) ** 2).sum(-1).mean())
    assert gaps
    assert gaps == pytest.approx([distance] * len(gaps), rel=0.02)


def test_lightning_on_a_gpu(tmp_path):
    """A fit in bf16: it ends, all samples are counted and the collapse is seen."""
    pl = pytest.importorskip("pytorch_lightning")
    from collapse_logging import Level, PosteriorCollapseDetector
    from collapse_logging.writers import MemoryWriter

    from .lightning.parts import loader, model, trainer

    memory = MemoryWriter()
    detector = PosteriorCollapseDetector(
        latents={"z": "vae.encoder"}, check_frequency=10, observe_every=1, writers=[memory]
    )
    options = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"}
    trainer(pl, tmp_path, detector, **options).fit(model(pl, reduction="mean"), loader())
    assert samples(memory) == 60 * 64
    assert memory.reports[-1].level is Level.RED
