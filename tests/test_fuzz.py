"""Whatever the public entry points are given, in any order: an error that helps, or none.

``COLLAPSE_FUZZ=10000`` runs that many cases of each test instead of a few hundred.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch.distributions import Bernoulli, Independent, Laplace, Normal

from collapse_logging import CollapseMonitor, Level, Report
from collapse_logging.writers import LedgerWriter, MemoryWriter, Writer

pytestmark = [
    # torch's own remarks on its sparse and nested tensors
    pytest.mark.filterwarnings("ignore:.*(nested|Sparse|sparse).*:UserWarning"),
]

CASES = int(os.environ.get("COLLAPSE_FUZZ", "200"))
fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    derandomize="COLLAPSE_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

HELPS = re.compile(r"(?s)expected .*(got|given) .*|does not belong in this list|unknown indicator")
"""What a caller's error must say."""

NUMBERS = st.one_of(
    st.integers(-3, 300), st.floats(), st.booleans(), st.none(), st.just(np.int64(3)),
    st.just(np.float32(0.5)), st.just(np.float64("nan")), st.text(max_size=3), st.just([1]),
    st.just(2**70), st.just(1 + 1j), st.just({"API_KEY": "hunter2"}),
)  # fmt: skip
THINGS = st.one_of(
    NUMBERS,
    st.just(MemoryWriter),
    st.just(print),
    st.just(b"bytes"),
    st.just(object()),
    st.just(torch.ones(2)),
)
NAMES = st.one_of(st.text(max_size=5), st.sampled_from(["z", "a", "../x", "\0", "\ud800"]), THINGS)

DTYPES = [torch.float32] * 6 + [
    torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64,
    torch.uint8, torch.float8_e4m3fn,
]  # fmt: skip
SHAPES = st.one_of(
    st.sampled_from([(4, 3), (8, 3), (1, 3), (0, 3), (5, 2, 3), (2, 3, 2, 2), (4, 5)]),
    st.lists(st.integers(0, 4), max_size=5).map(tuple),
)
VALUES = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, 3e38, 1000.0, math.nan, math.inf, -math.inf])
LAYOUTS = ["strided"] * 6 + ["sparse", "csr", "nested", "jagged", "expanded", "transposed"]


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> object:
    """A tensor of any shape, type, value, layout and device, with or without a gradient."""
    shape = draw(SHAPES) if shape is None or draw(st.integers(0, 9)) == 0 else shape
    dtype, layout = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(LAYOUTS))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    tensor = torch.randn(shape, generator=generator)
    if draw(st.booleans()) and tensor.numel():
        tensor.view(-1)[draw(st.integers(0, tensor.numel() - 1)) :] = draw(VALUES)
    tensor = tensor.to(dtype)
    tensor = laid_out(tensor, layout)
    plain = tensor.is_floating_point() and dtype.itemsize > 1 and tensor.layout == torch.strided
    return tensor.requires_grad_() if draw(st.booleans()) and plain else tensor


def laid_out(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """The tensor in another layout, where it can have it."""
    small = tensor.ndim == 2 and tensor.dtype == torch.float32 and tensor.numel() > 0
    made = {
        "sparse": lambda: tensor.to_sparse() if tensor.dtype.itemsize > 1 else tensor,
        "csr": lambda: tensor.to_sparse_csr() if small else tensor,
        "nested": lambda: torch.nested.nested_tensor([tensor] * 2) if small else tensor,
        "jagged": lambda: (
            torch.nested.nested_tensor([tensor] * 2, layout=torch.jagged) if small else tensor
        ),
        "expanded": lambda: tensor[:1].expand(tensor.shape) if tensor.ndim else tensor,
        "transposed": lambda: tensor.mT if tensor.ndim >= 2 else tensor,
    }
    return made.get(layout, lambda: tensor)()


@st.composite
def posteriors(draw: st.DrawFn) -> tuple[object, ...]:
    """What ``observe`` may be handed after the name."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.lists(THINGS, min_size=1, max_size=3).map(tuple))
    shape = draw(SHAPES)
    if kind == 1:
        location, scale = torch.zeros(shape), torch.full(shape, draw(VALUES))
        found = draw(
            st.sampled_from(
                [
                    Normal(location, scale, validate_args=False),
                    Laplace(location, scale, validate_args=False),
                    Bernoulli(logits=location),
                ]
            )
        )
        return (Independent(found, 1) if shape and draw(st.booleans()) else found,)
    return draw(tensors(shape)), draw(tensors(shape))


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What is logged of thousands of mistakes helps nobody."""
    log = logging.getLogger("collapse_logging")
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(logging.NOTSET)


class Sometimes(Writer):
    """A writer that fails now and then."""

    def __init__(self) -> None:
        self.calls = 0

    def write(self, report: Report) -> None:
        """Take a report; every third fails."""
        self.calls += 1
        if self.calls % 3 == 0:
            raise OSError(28, "No space left on device")


def allowed(call: Callable[..., object], *arguments: object, **options: object) -> object:
    """What the call gives; None where it raises the kind of error that a caller may get."""
    try:
        return call(*arguments, **options)
    except (TypeError, ValueError) as error:
        told = str(error)
    python = "positional argument" in told  # Python's own, for a wrong number of arguments
    assert python or HELPS.search(told), told
    assert "hunter2" not in told
    assert len(told) < 2000
    return None


ARGUMENTS = {
    "writers": st.one_of(st.lists(THINGS, max_size=2), THINGS),
    "responses": st.one_of(st.lists(THINGS, max_size=2), THINGS),
    "rules": st.one_of(st.sampled_from(["default", "fast", "manual", "defualt"]), THINGS),
    "kl_threshold": NUMBERS,
    "var_threshold": NUMBERS,
    "active_units_threshold": NUMBERS,
    "window_size": NUMBERS,
    "check_frequency": NUMBERS,
    "early_stop_patience": NUMBERS,
    "optional": st.one_of(st.lists(NAMES, max_size=2), THINGS),
    "probe": THINGS,
    "language": st.one_of(st.sampled_from(["en", "zh"]), THINGS),
    "log_dir": st.none(),
    "verbose": st.booleans(),
    "strict": st.booleans(),
}


@fuzzed
@given(st.data())
def test_the_constructor(data: st.DataObject) -> None:
    """Any arguments: a monitor, or an error that says what was expected and what came."""
    names = data.draw(st.lists(st.sampled_from(sorted(ARGUMENTS)), unique=True, max_size=4))
    options = {name: data.draw(ARGUMENTS[name]) for name in names}
    monitor = allowed(CollapseMonitor, **options)
    if monitor is not None:
        assert isinstance(monitor, CollapseMonitor)
        monitor.observe("z", torch.zeros(4, 2), torch.zeros(4, 2))
        monitor.step()
        monitor.close()


def sane(beta: object) -> bool:
    """The window takes no beta beyond 32 bits."""
    return not isinstance(beta, (int, float)) or not 1e18 < abs(beta) < math.inf


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, tuple[object, ...], dict[str, object]]:
    """A method of the monitor with arguments, most of them good."""
    name = draw(
        st.sampled_from(["observe"] * 6 + ["step"] * 6 + ["flush", "state", "close", "frequency"])
    )
    if name == "observe":
        called = draw(st.sampled_from(["z"] * 6 + ["a"]) if draw(st.booleans()) else NAMES)
        options: dict[str, object] = {}
        if draw(st.integers(0, 5)) == 0:
            options["mask"] = draw(st.one_of(tensors(), THINGS))
        return name, (called, *draw(posteriors())), options
    if name == "step":
        keys = st.sampled_from(["reconstruction_loss", "step", "beta"])
        some = draw(st.lists(keys, unique=True, max_size=2))
        value = st.one_of(NUMBERS, VALUES, st.integers(0, 99), tensors())
        beta = value.filter(lambda given: isinstance(given, torch.Tensor) or sane(given))
        return name, (), {key: draw(beta if key == "beta" else value) for key in some}
    return name, (draw(NUMBERS),) if name == "frequency" else (), {}


def call(monitor: CollapseMonitor, name: str, arguments: tuple, options: dict) -> None:
    """One call."""
    if name == "state":
        file = io.BytesIO()
        torch.save(monitor.state_dict(), file)
        file.seek(0)
        monitor.load_state_dict(torch.load(file, weights_only=True))
    elif name == "frequency":
        allowed(setattr, monitor, "check_frequency", *arguments)
    else:
        allowed(getattr(monitor, name), *arguments, **options)


def on_meta(value: object) -> object:
    """The same tensor without its values."""
    dense = isinstance(value, torch.Tensor) and value.layout == torch.strided
    return value.to("meta") if dense and not value.is_nested else value


@fuzzed
@given(
    st.lists(calls(), max_size=15),
    st.integers(1, 4),
    st.sampled_from(["default", "fast", "manual"]),
    st.sampled_from(["cpu"] * 7 + ["meta"]),
)
def test_any_calls_in_any_order(made: list, frequency: int, rules: str, device: str) -> None:
    """Observe, step, flush, state, close in any order, with anything: the monitor goes on.

    After all of it a good posterior is still taken, each report is plain JSON in the ledger, and
    a writer that fails now and then changes nothing.
    """
    memory = MemoryWriter()
    with tempfile.TemporaryDirectory() as folder:
        writers = [memory, Sometimes(), LedgerWriter(Path(folder))]
        monitor = CollapseMonitor(writers, rules=rules, check_frequency=frequency, verbose=False)
        for name, arguments, options in made:
            if device == "meta":  # a trial run: it has no values to save
                arguments = tuple(on_meta(value) for value in arguments)
                name = "flush" if name == "state" else name
            call(monitor, name, arguments, options)
        for report in memory.reports:
            assert report.level in Level
            assert all(math.isfinite(value) for value in report.scalars().values())
        if device == "meta":
            assert memory.reports == []
            return
        monitor.flush()
        monitor.observe("afterwards", torch.randn(4, 2), torch.zeros(4, 2))
        monitor.step()
        last = monitor.flush()
        assert last is not None
        assert last.latents["afterwards"].measures["samples"] == 4
        monitor.close()


@pytest.mark.parametrize("error", [TypeError("no hint"), ValueError("NoneType has no len")])
def test_the_fuzzing_can_fail(error: Exception) -> None:
    """An error that does not say what was expected, or is of another kind, is a failure."""

    def call() -> None:
        raise error

    with pytest.raises(AssertionError):
        allowed(call)
    with pytest.raises(ZeroDivisionError):
        allowed(lambda: 1 / 0)
