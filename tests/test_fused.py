"""The kernels of our own give the sums of torch's; without a GPU Triton interprets them."""

import logging

import numpy as np
import pytest
import torch

from collapse_logging import fused
from collapse_logging.posterior import Posterior
from collapse_logging.side_by_side import SideBySide

from .parts import gaussian, recorded

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [
    pytest.mark.usefixtures("windows_alone", "at_once"),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # of the interpreter's
]


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """The kernels run wherever the sums are; the launches are noted."""
    pytest.importorskip("triton", minversion="3.7" if DEVICE.type == "cpu" else "3.6")
    launches, launch = [], fused.launch

    def noted(*given):
        launch(*given)
        launches.append(given)

    monkeypatch.setattr(fused, "launch", noted)
    monkeypatch.setattr(fused, "_on_gpu", lambda table: True)
    monkeypatch.setattr(fused, "_works", True)
    return launches


@pytest.fixture
def no_kernels(monkeypatch):
    """Makes torch sum what follows."""
    return lambda: monkeypatch.setattr(fused, "_works", False)


def batches(units, rows, dtype=torch.float32, steps=4):
    """Posteriors that are two halves of one tensor, and their gradients, step by step."""
    for step in range(steps):
        batch, gradients = {}, []
        for at, size in enumerate(units):
            mean, log_variance = gaussian((rows, size), 100 * step + at, spread=2.0)
            both = torch.cat([mean + 3.0, log_variance], 1).to(DEVICE, dtype)
            batch[f"z{at}"] = Posterior(*both.chunk(2, 1))
            gradient = gaussian((rows, size), 100 * step + at + 50)[0]
            gradients.append(gradient.to(DEVICE, dtype))
        yield batch, gradients


def sums_of(units, rows, grows=True, spoil=None, **options):
    """The sums of some steps; ``spoil`` changes the third's batch."""
    sums = SideBySide()
    for at, size in enumerate(units):
        sums.add(f"z{at}", size, DEVICE)
    for step, (batch, gradients) in enumerate(batches(units, rows, **options)):
        if spoil and step == 2:
            spoil(batch["z0"], gradients[0])
        sums.update(batch, gradients if grows else [])
        sums.end_step()
    return sums


def assert_same(one, other, rtol=2e-5, atol=2e-4):
    """The same sums and counts."""
    assert one.parts == other.parts
    for mine, theirs in ((one.table, other.table), (one.totals, other.totals)):
        np.testing.assert_allclose(mine.cpu(), theirs.cpu(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("grows", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("units", "rows"),
    [((1,), 2), ((3,), 8), ((3, 5), 17), ((1, 130, 64), 33), ((70,), 200), ((5,) * 16, 4)],
)
def test_the_sums_are_those_of_torch(units, rows, dtype, grows, launched, no_kernels):
    """Whatever the latents' sizes, the rows and the precision, to that of fp32."""
    ours = sums_of(units, rows, grows, dtype=dtype)
    assert len(launched) == 3  # the first batch sets the shifts
    no_kernels()
    assert_same(ours, sums_of(units, rows, grows, dtype=dtype))
    assert len(launched) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["mean", "log_variance", "gradient"])
def test_what_is_not_finite_leaves_its_unit_out(side, value, launched, no_kernels):
    """In that batch alone; an infinite ln sigma^2 is limited, and counts."""

    def spoil(posterior, gradient):
        spoilt = gradient if side == "gradient" else getattr(posterior, side)
        spoilt[1, 1] = value

    ours = sums_of((3, 2), 8, spoil=spoil)
    no_kernels()
    assert_same(ours, sums_of((3, 2), 8, spoil=spoil))
    assert len(launched) == 3


def test_a_small_and_a_large_log_variance():
    """exp(v) - 1 keeps its digits where v is small, and is right where it is large."""
    x = torch.tensor([-30.0, -1.0, -0.35, -1e-3, -1e-7, 0.0, 1e-7, 1e-3, 0.35, 1.0, 9.0])
    sums = SideBySide()
    sums.add("z", len(x), DEVICE)
    sums._new.clear()  # shift 0
    rows = x.to(DEVICE).expand(2, -1)
    sums.update({"z": Posterior(torch.zeros_like(rows), rows)})
    found = sums.table[8].cpu().double() / 2
    np.testing.assert_allclose(found, np.expm1(x.double()), rtol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"units": (5,) * 17, "rows": 4}, id="many latents"),
        pytest.param({"units": (5, 3), "rows": 1}, id="one sample"),
        pytest.param({"units": (5, 3), "rows": 4, "dtype": torch.float64}, id="float64"),
    ],
)
def test_what_the_kernels_do_not_take_is_summed_by_torch(given, launched):
    """Nothing is launched, and the counts are right."""
    sums = sums_of(**given)
    assert not launched
    assert {part.rows for part in sums.parts.values()} == {4 * given["rows"]}


def test_sides_of_several_kinds(launched, no_kernels):
    """Gradients may be of another type and lie in memory as they like; one kind must be of one."""

    def of_other_kinds(mixed):
        sums = SideBySide()
        for name in "ab":
            sums.add(name, 3, DEVICE)
        for batch, gradients in batches((3, 3), 8):
            batch = dict(zip("ab", batch.values(), strict=True))
            if mixed:
                b = batch["b"]
                batch["b"] = Posterior(b.mean.bfloat16(), b.log_variance)
            sums.update(batch, [g.half().t().contiguous().t() for g in gradients])
        return sums

    ours = of_other_kinds(mixed=False)
    assert len(launched) == 3
    of_other_kinds(mixed=True)
    assert len(launched) == 3
    no_kernels()
    assert_same(ours, of_other_kinds(mixed=False))


def test_a_kernel_that_cannot_be_built_is_done_without(monkeypatch, caplog):
    """It is tried once and told quietly; the numbers are those of torch's kernels."""
    tried = []

    def fails(*given):
        tried.append(given)
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused, "launch", fails)
    with caplog.at_level(logging.INFO, "collapse_logging"):
        sums = sums_of((3, 5), 8)
    assert len(tried) == 1
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "Failed to find C compiler" in caplog.text
    assert {part.rows for part in sums.parts.values()} == {32}


def test_a_whole_run_reports_the_same(launched, no_kernels):
    """Two latents with growth over checks: every measure, whoever sums."""
    found = []
    for _ in range(2):
        monitor, memory = recorded(check_frequency=3, observe_every=1)
        for step in range(6):
            loss = torch.zeros((), device=DEVICE)
            for at, units in enumerate((3, 5)):
                mean, log_variance = (x.to(DEVICE) for x in gaussian((8, units), 10 * step + at))
                mean.requires_grad_()
                monitor.observe(f"z{at}", mean, log_variance)
                loss = loss + (mean**2).sum()
            loss.backward()
            monitor.step(reconstruction_loss=loss.detach())
        monitor.flush()
        found.append(memory.reports)
        no_kernels()
    assert len(launched) == 5
    for one, other in zip(*found, strict=True):
        for name, latent in one.latents.items():
            assert latent.measures == pytest.approx(other.latents[name].measures, rel=1e-3)


@pytest.mark.parametrize("rows", [2, 17, 1024, 100_000])
@pytest.mark.parametrize("units", [(1,), (3, 1000), (1024,) * 16, (100_000,)])
def test_the_plan_covers_all(units, rows):
    """Blocks reach the last unit; sizes are powers of two and no program adds up too much."""
    ends = tuple(int(end) for end in np.cumsum((0, *units)))
    block, blocks, splits, tile = fused._plan(ends, rows)
    assert blocks * block >= max(units) > (blocks - 1) * block
    assert all(size & (size - 1) == 0 for size in (block, splits, tile))
    assert splits * fused._BLOCK_ROWS < 2 * rows + fused._BLOCK_ROWS
    assert splits * tile <= max(fused._TILE, 4 * splits)
