"""Wrong arguments: each error says what was expected, what came and how to mend it."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributions import Normal, Poisson

from collapse_logging import CollapseMonitor, Rules
from collapse_logging.writers import MemoryWriter
from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger

from . import oracle
from .parts import VAE, gaussian, joined, recorded, train

PAIR = gaussian((6, 4, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"check_frequency": -1}, ValueError, "check_frequency: expected an integer of at least 1"),
        ({"check_frequency": 0}, ValueError, "at least 1, got 0"),
        ({"check_frequency": True}, TypeError, "got True"),
        ({"check_frequency": math.nan}, TypeError, "got nan"),
        ({"check_frequency": 2.0}, TypeError, "got 2.0"),
        ({"window_size": -3}, ValueError, "window_size: expected"),
        ({"kl_threshold": math.nan}, ValueError, "kl_threshold: expected a number from 0"),
        ({"active_units_threshold": 1.5}, ValueError, "from 0 to 1, got 1.5"),
        ({"rules": "defualt"}, ValueError, "Did you mean 'default'"),
        ({"rules": 3}, TypeError, "expected a preset's name"),
        ({"responses": ["stop"]}, TypeError, "responses: str does not belong"),
        ({"responses": print}, TypeError, r"responses: expected a list, got .*write \[...\]"),
        ({"writers": "runs"}, TypeError, r"writers: expected a list, got str; write \[...\]"),
        ({"writers": MemoryWriter()}, TypeError, "writers: expected a list, got MemoryWriter"),
        ({"writers": ["runs"]}, TypeError, "writers: str does not belong"),
        ({"writers": [MemoryWriter]}, TypeError, "writers: "),
    ],
)
def test_constructor(arguments, error, told):
    """A wrong argument is named when the monitor is made."""
    with pytest.raises(error, match=told):
        CollapseMonitor(**arguments)


@pytest.mark.parametrize("steps", [0, -1, True, 1.5, math.nan, "5"])
def test_check_frequency_set_wrongly(steps):
    """A wrong frequency is refused during training too, and the old one stays."""
    monitor, _ = recorded(check_frequency=7)
    with pytest.raises((TypeError, ValueError), match="check_frequency: expected an integer"):
        monitor.check_frequency = steps
    assert monitor.check_frequency == 7


@pytest.mark.parametrize("count", [np.int32(3), np.int64(3), np.uint8(3)])
@pytest.mark.parametrize("limit", [np.float32(0.25), np.float64(0.25), math.inf])
def test_numpy_numbers_are_numbers(tmp_path, count, limit):
    """NumPy's counts and limits are as good as Python's, also in the ledger's first line."""
    frequencies = dict.fromkeys(("check_frequency", "window_size", "early_stop_patience"), count)
    limits = dict.fromkeys(("kl_threshold", "var_threshold"), limit)
    with CollapseMonitor(log_dir=tmp_path, strict=True, **frequencies, **limits) as monitor:
        train(VAE(), monitor, 4, observe=True)
    first, *reports = read_ledger(tmp_path / LEDGER_NAME)
    assert (first["window_size"], len(reports)) == (3, 2)
    assert first["kl_threshold"] == (None if limit == math.inf else 0.25)


def test_a_count_beyond_all_sense_is_refused():
    """What fits into no tensor is an error at once and not at the first check."""
    with pytest.raises(ValueError, match="window_size: expected an integer .* at most"):
        CollapseMonitor(window_size=2**70)


@pytest.mark.parametrize(
    "secret", [{"api_key": "hunter2"}, ["hunter2"], torch.ones(999), b"x" * 99]
)
def test_an_error_shows_no_more_than_the_type_of_a_stray_value(secret):
    """A configuration or a tensor in the wrong place is not printed: it may hold secrets."""
    monitor, _ = recorded()
    for call in (
        lambda: CollapseMonitor(kl_threshold=secret),
        lambda: CollapseMonitor(check_frequency=secret),
        lambda: CollapseMonitor(rules=secret),
        lambda: CollapseMonitor(language=secret),
        lambda: CollapseMonitor(probe=secret),
        lambda: CollapseMonitor(optional=[secret]),
        lambda: monitor.step(beta=secret),
        lambda: monitor.step(reconstruction_loss=secret),
        lambda: monitor.observe(secret, *PAIR),
        lambda: monitor.observe("z", secret, PAIR[1]),
        lambda: monitor.watch(VAE(), secret if isinstance(secret, bytes) else {"z": secret}),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        told = str(caught.value)
        assert "hunter2" not in told
        assert "1., 1." not in told
        assert len(told) < 400


@pytest.mark.parametrize(
    ("name", "posterior", "mask", "error", "told"),
    [
        (3, PAIR, None, TypeError, "name: expected the latent's name, e.g. 'z', got 3"),
        ("", PAIR, None, TypeError, "name: expected"),
        ("z\ud800", PAIR, None, ValueError, "name: expected text that UTF-8 can hold"),
        (PAIR[0], PAIR[1:], None, TypeError, "name: expected the latent's name"),
        ("z", (PAIR,), None, TypeError, r"observe\(name, mean, log_variance\).*got tuple"),
        ("z", PAIR[:1], None, TypeError, "got nothing for log_variance"),
        ("z", (PAIR[0].int(), PAIR[1]), None, TypeError, "got torch.int32; pass the network"),
        ("z", (PAIR[0], PAIR[1][:3]), None, ValueError, r"\[6, 4, 3\] and \[3, 4, 3\]"),
        ("z", (PAIR[0] * 1j, PAIR[1]), None, TypeError, "got torch.complex64"),
        ("z", (PAIR[0] > 0, PAIR[1]), None, TypeError, "got torch.bool"),
        ("z", (PAIR[0].to(torch.float8_e4m3fn), PAIR[1]), None, TypeError, "16 bits or more"),
        ("z", (PAIR[0].to_sparse(), PAIR[1]), None, TypeError, r"sparse_coo; call .to_dense\(\)"),
        ("z", (PAIR[0].to("meta"), PAIR[1]), None, ValueError, "one device, got meta and cpu"),
        ("z", (PAIR[0], None), None, TypeError, "got nothing for log_variance"),
        ("z", gaussian((5,)), None, ValueError, r"got \[5\]; reshape it"),
        ("z", gaussian((5, 0)), None, ValueError, "at least one unit"),
        ("z", (Poisson(PAIR[0].exp()),), None, TypeError, "got Poisson"),
        ("z", PAIR, torch.ones(5), ValueError, r"a mask \[6\] or \[6, 4\], got \[5\]"),
        ("z", PAIR, torch.ones(6, 4, 3), ValueError, "expected a mask"),
        pytest.param("z", PAIR, [True] * 6, TypeError, "a mask"),
        pytest.param("z", PAIR, np.ones(6, dtype=bool), TypeError, "a mask"),
    ],
)
def test_observe(name, posterior, mask, error, told):
    """What is no posterior, name or mask is refused, and the monitor still works."""
    monitor, memory = recorded(check_frequency=1)
    with pytest.raises(error, match=told):
        monitor.observe(name, *posterior, mask=mask)
    monitor.observe("z", *PAIR)
    monitor.step()
    assert memory.reports[0].latents["z"].measures["samples"] == 6


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_refused(layout):
    """Rows of several lengths are to be padded and masked."""
    nested = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)], layout=layout)
    with pytest.raises(TypeError, match=r"expected a dense mean, got a nested.*and pass a mask"):
        recorded()[0].observe("z", nested, nested)
    with pytest.raises(ValueError, match="reconstruction_loss: expected a scalar, got one that is"):
        recorded()[0].step(reconstruction_loss=nested)


def test_a_distributed_tensor_is_refused():
    """A shard of a tensor-parallel model has some of the units only."""
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        shard = distribute_tensor(PAIR[0], init_device_mesh("cpu", (1,)), [Shard(2)])
        with pytest.raises(TypeError, match=r"got a DTensor; call .full_tensor\(\)"):
            recorded()[0].observe("z", shard, shard)
    finally:
        dist.destroy_process_group()


def test_a_tensor_without_values_is_refused():
    """What a tracer runs a model with has shapes and no values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.zeros(6, 3)
    with pytest.raises(TypeError, match="got a FakeTensor; call close"):
        recorded()[0].observe("z", fake, fake)


def test_mean_and_log_variance_may_differ_in_type():
    """An autocast region may give one in half precision and the other in full."""
    monitor, memory = recorded(check_frequency=1)
    mean, log_variance = gaussian((64, 3))
    monitor.observe("z", mean.to(torch.bfloat16), log_variance.double())
    monitor.step()
    expected = oracle.measures(mean.to(torch.bfloat16).float(), log_variance)
    got = memory.reports[0].latents["z"].per_unit["kl"]
    np.testing.assert_allclose(got, expected["kl"], rtol=1e-5)


def test_a_scale_that_is_none_is_an_explosion():
    """A negative standard deviation has no logarithm: the alert says that it cannot be read."""
    monitor, memory = recorded(rules=Rules(check_frequency=1, skip_checks=0))
    scale = torch.full((6, 3), 0.1)
    scale[:, 1] = -0.1
    monitor.observe("z", Normal(gaussian((6, 3))[0], scale, validate_args=False))
    monitor.step()
    assert [alert.kind for alert in memory.alerts] == ["explosion"]
    assert memory.reports[0].latents["z"].measures["nonfinite"] == 6


def test_one_sample_a_batch():
    """A stream of single samples is read as the batch that they are together."""
    monitor, memory = recorded(check_frequency=40)
    batches = [gaussian((1, 3), seed) for seed in range(40)]
    for batch in batches:
        monitor.observe("z", *batch)
        monitor.step()
    expected = oracle.measures(*(joined(side) for side in zip(*batches, strict=True)))
    got = memory.reports[0].latents["z"]
    assert got.measures["samples"] == 40
    for key in ("kl", "information", "mean_variance"):
        np.testing.assert_allclose(got.per_unit[key], expected[key], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")  # torch's farewell
def test_a_quantised_tensor_is_refused():
    """Codes are not values; the error names their type."""
    codes = torch.quantize_per_tensor(PAIR[0], 0.1, 0, torch.quint8)
    with pytest.raises(TypeError, match="floating-point type of 16 bits or more, got torch.quint8"):
        recorded()[0].observe("z", codes, PAIR[1])


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"reconstruction_loss": torch.ones(4)}, ValueError, r"a scalar, got \[4\]; take its mean"),
        ({"reconstruction_loss": "0.5"}, TypeError, "reconstruction_loss: expected a number"),
        ({"reconstruction_loss": torch.ones(1, dtype=torch.cfloat)}, TypeError, "got a Tensor"),
        ({"reconstruction_loss": torch.ones(1).to_sparse()}, ValueError, r"a scalar, got \[1\]"),
        ({"step": -1}, ValueError, "step: expected an integer of at least 0"),
        ({"step": 1.0}, TypeError, "got 1.0"),
        ({"step": True}, TypeError, "got True"),
    ],
)
def test_step(arguments, error, told):
    """A wrong loss or step is refused before anything is counted."""
    monitor, memory = recorded(check_frequency=1)
    monitor.observe("z", *PAIR)
    with pytest.raises(error, match=told):
        monitor.step(**arguments)
    assert memory.reports == []
    assert monitor.step().step == 1


@pytest.mark.parametrize("loss", [1e300, -1e300, math.inf])
def test_a_loss_beyond_32_bits_is_as_good_as_none(loss):
    """Python's numbers reach further than the device's; it is no error and no measure."""
    monitor, memory = recorded(check_frequency=2)
    for given in (loss, 2.0):
        monitor.observe("z", *PAIR)
        monitor.step(reconstruction_loss=given)
    assert memory.reports[0].measures["reconstruction_loss"] == 2.0
