"""What watching costs a training: no wait, no memory, no changed bit."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from collapse_logging import CollapseMonitor
from collapse_logging.posterior import Posterior
from collapse_logging.transfer import DirectTransfer
from collapse_logging.window import Window

from . import oracle
from .parts import VAE, gaussian, joined, recorded, samples, train

pytestmark = pytest.mark.usefixtures("windows_alone")

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")


class NothingWaits(TorchDispatchMode):
    """Fails on operators that would read a value on the host; counts the others."""

    def __init__(self):
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        chosen = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(index is not None and index.dtype is torch.bool for index in chosen)
        assert name not in WAITS, function
        assert not by_mask, function
        self.operators += 1
        return function(*args, **(kwargs or {}))


def live_tensors():
    """How many tensors there are."""
    gc.collect()
    return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())


def test_many_micro_batches_do_not_pile_up():
    """Sixty forwards without a backward in one step are all counted, and not all held."""
    monitor, memory = recorded(check_frequency=1)
    batches = [gaussian((4, 2), seed) for seed in range(60)]
    before = live_tensors()
    for mean, log_variance in batches:
        monitor.observe("z", mean.clone(), log_variance)
    assert live_tensors() - before < 120  # each that is held has three
    monitor.step()
    expected = oracle.measures(*(joined(side) for side in zip(*batches, strict=True)))
    got = memory.reports[0].latents["z"]
    np.testing.assert_allclose(got.per_unit["kl"], expected["kl"], rtol=1e-5)
    assert got.measures["samples"] == 240


@pytest.mark.parametrize("watch", [False, True])
def test_training_is_bit_identical(watch):
    """With and without the monitor parameters and torch's random stream agree to the bit."""
    ends = []
    for monitored in (False, True):
        torch.manual_seed(0)
        model = VAE()
        monitor = CollapseMonitor(check_frequency=3, verbose=False) if monitored else None
        if monitored and watch:
            monitor.watch(model, "encoder")
        train(model, monitor, 20, observe=monitored and not watch)
        ends.append((model.state_dict(), torch.get_rng_state()))
    (first, first_stream), (second, second_stream) = ends
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(first_stream, second_stream)
    assert monitor.flush().latents


@pytest.mark.parametrize("watch", [False, True])
def test_memory_is_constant(watch):
    """Two hundred steps leave as many live tensors as ten did."""
    monitor = CollapseMonitor(check_frequency=5, verbose=False)
    model = VAE()
    if watch:
        monitor.watch(model, "encoder")
    train(model, monitor, 10, observe=not watch)
    before = live_tensors()
    train(model, monitor, 200, observe=not watch)
    assert live_tensors() <= before  # what earlier tests left may go


class Noted(torch.autograd.Function):
    """The identity, whose node in the graph can be watched."""

    @staticmethod
    def forward(context, x):
        """Keep the last node."""
        Noted.node = weakref.ref(context)
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        """The identity."""
        return gradient


def test_no_graph_is_kept():
    """After the step, with backward or without, the batch's graph is gone without collection."""
    monitor, _ = recorded(check_frequency=50)
    gc.disable()
    try:
        for backward in (True, False):
            mean = Noted.apply(torch.randn(4, 2, requires_grad=True))
            monitor.observe("z", mean, torch.zeros(4, 2))
            if backward:
                mean.sum().backward()
            monitor.step()
            assert Noted.node() is not None
            del mean
            assert Noted.node() is None
    finally:
        gc.enable()


def test_a_leaf_mean_keeps_one_hook():
    """A mean that is itself a parameter gathers no hooks over the steps."""
    monitor, memory = recorded(check_frequency=10)
    mean = torch.nn.Parameter(gaussian((8, 3))[0])
    for _ in range(20):
        monitor.observe("z", mean, torch.zeros(8, 3))
        (mean**2).sum().backward()
        monitor.step()
    assert not mean._backward_hooks
    assert samples(memory) == 160


@pytest.mark.parametrize(("shape", "masked"), [((8, 3), False), ((8, 4, 3), True)])
def test_nothing_waits_between_checks(shape, masked):
    """Observing, backward and step read no value on the host, and add few operators."""
    monitor, _ = recorded(check_frequency=50)
    mask = torch.ones(shape[:2], dtype=torch.bool) if masked else None
    for step in range(4):
        mean, log_variance = gaussian(shape, step)
        mean.requires_grad_()
        with NothingWaits() as own:
            loss = (mean**2).sum()
            loss.backward()
        with NothingWaits() as whole:
            monitor.observe("z", mean, log_variance, mask=mask)
            loss = (mean**2).sum()
            loss.backward()
            monitor.step(reconstruction_loss=loss if step % 2 else 0.5)
    added = whole.operators - own.operators
    print(f"operators added to a step: {added}")
    assert 20 < added <= 130 if masked else 5 < added <= 12


class Kernels(TorchDispatchMode):
    """Notes the operators that compute: neither views nor allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if not function.is_view and not name.startswith(("empty", "new_empty")):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def kernels_of_a_step(latents, gradient):
    """The operators of the third step that compute."""
    monitor, _ = recorded(check_frequency=50)
    for step in range(3):
        batch = [gaussian((8, 3 + i), step) for i in range(latents)]
        loss = sum((mean.requires_grad_(gradient) ** 2).sum() for mean, _ in batch)
        with Kernels() as kernels:
            for i, (mean, log_variance) in enumerate(batch):
                monitor.observe(f"z{i}", mean, log_variance)
        assert step == 0 or kernels.names == []  # room is made at the first
        if gradient:
            loss.backward()
        with Kernels() as kernels:
            monitor.step(reconstruction_loss=loss)
    print(len(kernels.names), *kernels.names)
    assert kernels.names.pop() == "copy_"  # the loss
    return kernels.names


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("latents", [1, 3, 8])
def test_at_most_twelve_kernels_a_step(latents, gradient, at_once):
    """However many latents there are, with growth; and one copies the loss."""
    assert len(kernels_of_a_step(latents, gradient)) == (12 if gradient else 11)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("latents", [1, 8])
def test_one_kernel_a_step_on_a_cpu(latents, gradient):
    """Batches wait there to be summed together, at the check."""
    assert kernels_of_a_step(latents, gradient) == ["cat"]


class OneDevice(TorchDispatchMode):
    """Fails on operators that take a tensor of another device than this one."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        assert {tensor.device.type for tensor in tensors} <= {self.device}, function
        return function(*args, **(kwargs or {}))


def observed_window(device):
    """A window of two latents on a device, one with positions, and a loss that is a number."""
    window = Window(frequency=3)
    for _ in range(3):
        for name, shape in (("z", (1, 3)), ("positions", (1, 4, 2))):
            sides = (torch.zeros(shape, device=device) for _ in range(2))
            window.latents.observe(name, Posterior(*sides))
        window.end_step(1.0, beta=0.5)
    return window


def test_a_check_takes_nothing_from_the_host():
    """Packing a window copies nothing to the device, so that a check has one copy: to the host."""
    window = observed_window("meta")
    with OneDevice("meta"):
        vector, layout = window.pack()
        window.reset()
    host, same_layout = observed_window("cpu").pack()
    assert (vector.shape, vector.dtype, layout) == (host.shape, torch.float32, same_layout)


class Sent(DirectTransfer):
    """Counts what is copied."""

    sent = 0

    def send(self, vector, tag):
        self.sent += 1
        super().send(vector, tag)


@pytest.mark.parametrize("latents", [1, 8])
def test_one_copy_a_check(latents):
    """However many latents there are, one vector leaves the device at a check."""
    monitor, memory = recorded(check_frequency=2)
    monitor._delivery.transfer = Sent()
    for seed in range(6):
        for i in range(latents):
            monitor.observe(f"z{i}", *gaussian((4, 2), seed))
        monitor.step()
    assert monitor._delivery.transfer.sent == len(memory.reports) == 3


class Flying(DirectTransfer):
    """Copies that land only when they are waited for."""

    def poll(self, wait=False):
        return super().poll() if wait else []


def test_nothing_waits_at_a_check():
    """A check reads no value either: its copy is under way when step returns."""
    monitor, memory = recorded(check_frequency=2)
    monitor._delivery.transfer = Flying()
    with NothingWaits():
        for seed in range(4):
            mean, log_variance = gaussian((8, 3), seed)
            mean.requires_grad_()
            monitor.observe("z", mean, log_variance)
            (mean**2).sum().backward()
            assert monitor.step(reconstruction_loss=torch.ones(())) is None
    monitor.flush()
    assert [report.step for report in memory.reports] == [2, 4]
    assert memory.reports[0].latents["z"].measures["mutual_information"] > 0


@pytest.mark.parametrize(
    "read",
    [
        torch.Tensor.item,
        bool,
        float,
        torch.nonzero,
        lambda one: one[one > 0],
        lambda one: torch.equal(one, one),
        lambda one: torch.masked_select(one, one > 0),
    ],
    ids=["item", "bool", "float", "nonzero", "index", "equal", "masked_select"],
)
def test_the_waiting_test_can_fail(read):
    """Reading a value is noticed, however it is written."""
    with NothingWaits(), pytest.raises(AssertionError, match="aten"):
        read(torch.ones(1))


@pytest.mark.parametrize("latents", [1, 8])
@pytest.mark.parametrize("units", [16, 1024])
def test_device_memory(units, latents):
    """What stays on the device between steps is at most 64 bytes a unit, and some a latent."""
    monitor, _ = recorded(check_frequency=50)
    for latent in range(latents):
        monitor.observe(f"z{latent}", *gaussian((4, units)))
    monitor.step()
    plain = monitor._window.latents.plain
    views = [view.latent_of for view in plain._views.values() if view.latent_of is not None]
    held = sum(part.numel() * part.element_size() for part in [plain.table, plain.totals, *views])
    print(f"{held / (latents * units):.1f} bytes a unit")
    assert held <= 64 * latents * units + 8 * latents
    assert not any(gathered.pending for _, gathered in monitor._window.latents)


def test_meta_tensors():
    """A model without data passes through steps and checks; real batches then count."""
    monitor, memory = recorded(check_frequency=2)
    for device in ["meta"] * 5 + ["cpu"]:
        mean = torch.zeros(4, 3, device=device, requires_grad=True)
        monitor.observe("z", mean, torch.zeros(4, 3, device=device))
        loss = (mean**2).sum()
        loss.backward()
        monitor.step(reconstruction_loss=loss)
    monitor.flush()
    assert [report.latents["z"].measures["samples"] for report in memory.reports] == [4]
