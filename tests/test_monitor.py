"""The monitor as users type it: plain loops, what the report says, arguments, closing."""

import gc
import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from collapse_logging import CollapseMonitor, Level, Report, Rules
from collapse_logging.writers import MemoryWriter, Writer

from . import oracle
from .parts import VAE, gaussian, joined, losses, recorded, samples, train, warnings_in

NAMED = ("information", "kl", "posterior_variance", "mean_variance")


class Spy(Writer):
    """Notes what is called, and fails on demand."""

    def __init__(self, fails=()):
        self.calls, self.fails = [], fails

    def open(self, settings):
        self._note("open")

    def write(self, report):
        self._note("write")

    def close(self):
        self._note("close")

    def _note(self, call):
        self.calls.append(call)
        if call in self.fails:
            raise OSError(f"no {call}")


def test_plain_loop():
    """The loop of the design reports at steps 5 and 10, and flush gives the two steps left."""
    torch.manual_seed(0)
    model, memory = VAE(), MemoryWriter()
    optimizer = torch.optim.Adam(model.parameters())
    returned, recons = [], []
    with CollapseMonitor(writers=[memory], check_frequency=5) as monitor:
        for _ in range(12):
            x = torch.randn(8, 6)
            reconstruction, mean, log_variance = model(x)
            monitor.observe("z", mean, log_variance)
            recon, kl = losses(x, reconstruction, mean, log_variance)
            optimizer.zero_grad()
            (recon + kl).backward()
            optimizer.step()
            returned.append(monitor.step(reconstruction_loss=recon))
            recons.append(recon.item())
        last = monitor.flush()
    checks = {step: report for step, report in enumerate(returned, 1) if report is not None}
    assert list(checks) == [5, 10]
    assert all(isinstance(report, Report) and report.step == s for s, report in checks.items())
    assert memory.reports == [checks[5], checks[10], last]
    assert (last.step, last.steps, last.check) == (12, 2, 2)
    expected = [np.mean(recons[a:b]) for a, b in ((0, 5), (5, 10), (10, 12))]
    got = [report.measures["reconstruction_loss"] for report in memory.reports]
    assert got == pytest.approx(expected, rel=1e-5)
    latent = checks[5].latents["z"]
    assert isinstance(latent.level, Level)
    assert isinstance(latent.indicators, tuple)
    named = {"information", "kl", "active_units", "active_fraction", "posterior_variance"}
    assert named | {"growth", "mutual_information"} <= set(latent.measures)
    assert set(latent.per_unit) == {*NAMED, "growth"}
    assert all(v.dtype == np.float64 and v.shape == (3,) for v in latent.per_unit.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "shapes",
    [
        [(8, 3), (5, 3), (1, 3)],
        [(1, 3)] * 6,
        [(6, 4, 3), (2, 4, 3)],
        [(4, 3, 2, 5), (7, 3, 2, 5)],
    ],
    ids=["batches", "single", "positions", "images"],
)
def test_report_is_numpy_on_the_joined_data(shapes, dtype):
    """A report over several batches is what float64 numpy says of all their samples together."""
    batches = [gaussian(shape, seed, dtype=dtype) for seed, shape in enumerate(shapes)]
    monitor, memory = recorded(check_frequency=len(batches))
    for mean, log_variance in batches:
        monitor.observe("z", mean, log_variance)
        monitor.step()
    (report,) = memory.reports
    expected = oracle.measures(*(joined(side) for side in zip(*batches, strict=True)))
    for name in NAMED:
        np.testing.assert_allclose(
            report.latents["z"].per_unit[name], expected[name], rtol=2e-5, atol=1e-6
        )
    measures = report.latents["z"].measures
    assert measures["information"] == pytest.approx(expected["information"].sum(), rel=1e-5)
    assert measures["kl"] == pytest.approx(expected["kl"].sum(), rel=1e-5)
    assert measures["active_units"] == (expected["mean_variance"] > 0.01).sum()
    assert measures["samples"] == sum(shape[0] for shape in shapes)


@pytest.mark.parametrize("mask_shape", [(6,), (6, 4)])
def test_mask(mask_shape):
    """Masked samples and positions are not in the report."""
    mean, log_variance = gaussian((6, 4, 3))
    mask = torch.rand(mask_shape, generator=torch.Generator().manual_seed(1)) > 0.4
    mask[0] = True
    whole = mask.reshape(6, -1, 1).expand(6, 4, 3)
    monitor, memory = recorded(check_frequency=1)
    monitor.observe("z", torch.where(whole, mean, 1e4), log_variance, mask=mask)
    monitor.step()
    mu, lv = (np.where(whole, side.double(), np.nan) for side in (mean, log_variance))
    expected = oracle.measures(mu, lv)
    for name in NAMED:
        got = memory.reports[0].latents["z"].per_unit[name]
        np.testing.assert_allclose(got, expected[name], rtol=2e-5)


def test_padding_is_not_in_the_mutual_information():
    """It is read of single samples, so a masked batch gives none rather than that of padding."""
    mean, log_variance = gaussian((6, 3))
    mask = torch.arange(6) < 4
    monitor, memory = recorded(check_frequency=2)
    for masked in (None, mask):
        monitor.observe("z", mean.clone(), log_variance)
        monitor.observe("masked", mean * 1e4, log_variance, mask=masked)
        monitor.observe("padded", mean * 1e4, log_variance, mask=mask)
        monitor.step()
    (report,) = memory.reports
    given = [n for n, lat in report.latents.items() if "mutual_information" in lat.measures]
    assert given == ["z"]


@pytest.mark.parametrize(("frequency", "told"), [(100, [100, 400, 700]), (300, [300, 600, 900])])
@pytest.mark.parametrize("resumes", [False, True])
def test_mutual_information_is_read_every_250_steps(frequency, told, resumes):
    """At the first check, and then at the first after so many steps, across a resume, too."""
    monitor, memory = recorded(check_frequency=frequency, observe_every=frequency)
    for step in range(900):
        if resumes and step == 450:
            resumed, later = recorded(check_frequency=frequency, observe_every=frequency)
            resumed.load_state_dict(monitor.state_dict())
            monitor = resumed
        monitor.observe("z", *gaussian((40, 3)))
        monitor.step()
    reports = [*memory.reports, *(later.reports if resumes else [])]
    assert [r.step for r in reports] == list(range(frequency, 901, frequency))
    has = [r.step for r in reports if "mutual_information" in r.latents["z"].measures]
    assert has == told


def test_several_latents_and_distributions():
    """Latents are apart, and a Normal says the same as its mean and log variance."""
    first, second = gaussian((8, 3), 0), gaussian((8, 5), 1)
    monitor, memory = recorded(check_frequency=1)
    normal = Normal(first[0], (0.5 * first[1]).exp())
    monitor.observe("pair", *first)
    monitor.observe("normal", normal)
    monitor.observe("independent", Independent(normal, 1))
    monitor.observe("other", *second)
    monitor.step()
    latents = memory.reports[0].latents
    assert list(latents) == ["pair", "normal", "independent", "other"]
    assert latents["other"].per_unit["kl"].shape == (5,)
    for name in ("normal", "independent"):
        for key in NAMED:
            np.testing.assert_allclose(
                latents[name].per_unit[key], latents["pair"].per_unit[key], rtol=1e-5
            )


def test_check_frequency_may_be_set_in_training():
    """A new frequency holds from the next step on."""
    monitor, memory = recorded(check_frequency=4)
    for step in range(1, 13):
        if step == 5:
            monitor.check_frequency = np.int64(2)
        if step == 10:
            monitor.check_frequency = 1
        monitor.observe("z", *gaussian((4, 2), step))
        monitor.step(reconstruction_loss=float(step))
    assert [report.step for report in memory.reports] == [4, 6, 8, 10, 11, 12]
    got = [report.measures["reconstruction_loss"] for report in memory.reports]
    assert got == [2.5, 5.5, 7.5, 9.5, 11.0, 12.0]


def test_step_numbers_are_the_users():
    """``step=`` sets the axis, and counting goes on from it."""
    monitor, memory = recorded(check_frequency=1)
    for given in (100, None, np.int64(7), None):
        monitor.observe("z", *gaussian((4, 2)))
        monitor.step(step=given)
    assert [report.step for report in memory.reports] == [100, 101, 7, 8]


@pytest.mark.parametrize("loss", [2.5, np.float32(2.5), torch.tensor(2.5), torch.tensor([2.5])])
def test_reconstruction_loss(loss):
    """A loss may be a number or a tensor of one element; absent steps do not count."""
    monitor, memory = recorded(check_frequency=3)
    for given in (loss, None, math.nan):
        monitor.observe("z", *gaussian((4, 2)))
        monitor.step(reconstruction_loss=given)
    assert memory.reports[0].measures == {"reconstruction_loss": 2.5}


def test_no_loss_no_measure():
    """Without a loss the report has no reconstruction loss, rather than a wrong one."""
    monitor, memory = recorded(check_frequency=1)
    monitor.observe("z", *gaussian((4, 2)))
    monitor.step()
    assert memory.reports[0].measures == {}


def test_window_without_observation():
    """Steps without an observation give no report, before and after there were some."""
    monitor, memory = recorded(check_frequency=2)
    assert [monitor.step() for _ in range(4)] == [None] * 4
    assert monitor.flush() is None
    for _ in range(2):
        monitor.observe("z", *gaussian((4, 2)))
        report = monitor.step()
    assert report is not None
    assert [monitor.step() for _ in range(4)] == [None] * 4
    assert memory.reports == [report] == [monitor.flush()]


def test_close_twice_closes_once():
    """Closing delivers what is left over and closes each writer once, however often called."""
    spy = Spy()
    monitor = CollapseMonitor(writers=[spy], check_frequency=50)
    monitor.observe("z", *gaussian((4, 2)))
    monitor.step()
    monitor.close()
    monitor.close()
    assert spy.calls == ["open", "write", "close"]


@pytest.mark.parametrize("fails", [(), ("write",), ("close",)])
@pytest.mark.parametrize("strict", [False, True])
def test_users_exception_passes_through(fails, strict):
    """The training's own error leaves the context as it is, and the writers are closed."""
    spy, other = Spy(fails), Spy()
    error = RuntimeError("mine")

    def training():
        with CollapseMonitor(writers=[spy, other], strict=strict) as monitor:
            monitor.observe("z", *gaussian((4, 2)))
            monitor.step()
            raise error

    with pytest.raises(RuntimeError) as caught:
        training()
    assert caught.value is error
    assert spy.calls[-1] == other.calls[-1] == "close"


def test_failing_writer(caplog):
    """A writer that fails is logged once, the others go on; strict raises its error."""
    broken, whole = Spy(["write"]), Spy()
    with CollapseMonitor([broken, whole], check_frequency=1, verbose=False) as monitor:
        train(VAE(), monitor, 3, observe=True)
    assert whole.calls == ["open", "write", "write", "write", "close"]
    assert len(warnings_in(caplog)) == 1
    assert "Spy failed" in warnings_in(caplog)[0]
    monitor = CollapseMonitor([Spy(["write"])], check_frequency=1, strict=True)
    with pytest.raises(OSError, match="no write"):
        train(VAE(), monitor, 1, observe=True)


@pytest.mark.parametrize("strict", [False, True])
def test_failing_response(strict, caplog):
    """A response that raises is logged and training goes on; strict raises its error."""

    def broken(alert):
        raise OSError(alert.latent)

    rules = Rules(check_frequency=1, skip_checks=0)
    monitor = CollapseMonitor((), [broken], rules, verbose=False, strict=strict)
    nan = torch.full((4, 2), math.nan)
    monitor.observe("z", nan, nan)
    if strict:
        with pytest.raises(OSError, match="z"):
            monitor.step()
        return
    assert monitor.step().alerts
    assert "a response failed at step 1" in warnings_in(caplog)[0]


def test_samples_of_a_flush_are_counted_once():
    """Flushing at any moment loses no sample and counts none twice."""
    monitor, memory = recorded(check_frequency=4)
    for step in range(11):
        monitor.observe("z", *gaussian((40, 2), step))
        monitor.step()
        if step in (3, 5, 6, 10):
            monitor.flush()
            monitor.flush()
    assert [report.step for report in memory.reports] == [4, 6, 7, 11]
    assert samples(memory) == 440


def test_steps_leave_nothing_to_the_garbage_collector():
    """Cycles would make the collector run in the midst of training: there are none."""
    monitor, model = CollapseMonitor(check_frequency=10, verbose=False), VAE()
    train(model, monitor, 100, observe=True)
    gc.collect()
    gc.disable()
    try:
        train(model, monitor, 200, observe=True)
        assert gc.collect() == 0
    finally:
        gc.enable()


class Raising(torch.Tensor):
    """A subclass whose arithmetic raises."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") == "cat":
            raise RuntimeError("no cat")
        return super().__torch_function__(function, types, args, kwargs or {})


def test_a_fault_of_ours_ends_no_training(caplog, monkeypatch):
    """It is told once, with its traceback; the window goes on with what came after."""
    monitor = CollapseMonitor(writers=[memory := MemoryWriter()], check_frequency=4, verbose=False)
    for step in range(8):
        mean, log_variance = gaussian((40, 3), step)
        monitor.observe("z", mean.as_subclass(Raising) if step in (1, 2) else mean, log_variance)
        monitor.step()
    assert [report.latents["z"].measures["samples"] for report in memory.reports] == [40, 160]
    assert len(warnings_in(caplog)) == 1
    assert "watching failed" in warnings_in(caplog)[0]
    assert "no cat" in caplog.text


def test_strict_raises_a_fault_of_ours():
    """For tests and CI."""
    monitor = CollapseMonitor(verbose=False, strict=True)
    mean, log_variance = gaussian((4, 3))
    monitor.observe("z", mean.as_subclass(Raising), log_variance)
    with pytest.raises(RuntimeError, match="no cat"):
        monitor.step()
