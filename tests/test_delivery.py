"""From a window to people: optional latents, the checkpoint's name, beta, merged windows."""

import io
import math

import numpy as np
import pytest
import torch

from collapse_logging import CollapseMonitor, Level, Rules
from collapse_logging.report import Alert
from collapse_logging.responses import KeepLastHealthy, StopWhenCollapsed
from collapse_logging.writers import MemoryWriter, Writer

from . import oracle
from .parts import gaussian, joined, recorded
from .test_resume import same

OK, YELLOW, ORANGE, RED = Level
CHECK = 2
"""Training steps from one check to the next."""


def pulled(monitor, name, seed, alive, batch=16):
    """One batch of a latent that carries much, or nothing, with a loss that shrinks it."""
    spread, log_variance = (1.0, -2.0) if alive else (0.01, 0.0)
    mean, log_variance = gaussian((batch, 4), seed, spread, log_variance)
    mean.requires_grad_()
    monitor.observe(name, mean, log_variance)
    (0.5 * mean**2).sum().backward()


def driven(monitor, steps, dies_at, names=("main", "spare"), betas=None):
    """Two latents: the second dies after ``dies_at`` steps, the first lives."""
    for step in range(steps):
        for name in names:
            pulled(monitor, name, step, name == "main" or step < dies_at)
        monitor.step(beta=None if betas is None else betas[step])


# --- optional latents ---


class Everything(Writer):
    """Keeps settings and alerts."""

    def __init__(self):
        self.settings, self.alerts = None, []

    def open(self, settings):
        self.settings = settings

    def write(self, report):
        self.alerts += report.alerts

    def close(self):
        pass


def test_an_optional_latent_is_shown_but_not_counted():
    """Its own level turns red and the writers are told; the run stays OK and healthy, and no
    response hears of it.
    """
    heard, everything, memory = [], Everything(), MemoryWriter()
    monitor = CollapseMonitor(
        [everything, memory],
        [heard.append],
        check_frequency=CHECK,
        optional=["spare"],
        verbose=False,
        strict=True,
    )
    driven(monitor, 40, 10)
    last = memory.reports[-1]
    assert last.latents["spare"].level is RED
    assert {report.level for report in memory.reports} == {OK}
    assert last.healthy
    assert heard == []
    assert [alert.latent for alert in everything.alerts] == ["spare"] * len(everything.alerts)
    told = everything.alerts[-1]
    assert (told.level, told.optional) == (RED, True)
    assert told.title.startswith("posterior collapse: spare (optional)")
    assert everything.settings["optional"] == ["spare"]


def test_an_optional_explosion_is_shown_but_not_counted():
    """So is its other alarm."""
    heard, memory = [], MemoryWriter()
    rules = Rules(check_frequency=1, skip_checks=0)
    monitor = CollapseMonitor([memory], [heard.append], rules, optional=["spare"], verbose=False)
    pulled(monitor, "main", 0, True)
    monitor.observe("spare", *(torch.full((16, 4), math.nan),) * 2)
    monitor.step()
    ((told,),) = [report.alerts for report in memory.reports]
    assert (told.kind, told.optional) == ("explosion", True)
    assert heard == []


def test_without_optional_the_same_run_is_red():
    """The latent that dies is the run's level, and the responses hear it."""
    heard, memory = [], MemoryWriter()
    monitor = CollapseMonitor([memory], [heard.append], check_frequency=CHECK, verbose=False)
    driven(monitor, 40, 10)
    assert memory.reports[-1].level is RED
    assert not memory.reports[-1].healthy
    assert heard == memory.alerts
    assert not any(alert.optional for alert in heard)


def test_stopping_ignores_optional_latents():
    """A run is not stopped for a latent that may die."""
    stopped = []
    monitor = CollapseMonitor(
        (),
        [StopWhenCollapsed(stopped.append, 2)],
        check_frequency=CHECK,
        optional=["spare"],
        verbose=False,
    )
    driven(monitor, 40, 0)
    assert stopped == []


@pytest.mark.parametrize("optional", ["spare", [3], {"spare": True}])
def test_optional_is_a_list_of_names(optional):
    """A bare name, a number or a mapping is refused."""
    with pytest.raises(TypeError, match="optional: "):
        CollapseMonitor(optional=optional)


# --- the checkpoint's name ---


def keeping(folder, **settings):
    """A monitor that keeps the last healthy model, and what its writers are told."""
    memory = MemoryWriter()
    keep = KeepLastHealthy(lambda path: path.write_text("model"), folder, every=1)
    monitor = CollapseMonitor(
        [memory], [keep], check_frequency=CHECK, verbose=False, strict=True, **settings
    )
    return monitor, memory


def test_alerts_name_the_file_that_is_kept(tmp_path):
    """By the name under which it lies there once the alert was answered."""
    monitor, memory = keeping(tmp_path)
    there = {}
    for step in range(40):
        pulled(monitor, "z", step, step < 10)
        if (report := monitor.step()) is not None:
            there[report.step] = {path.name for path in tmp_path.iterdir()}
    assert {alert.level for alert in memory.alerts} == {YELLOW, RED}
    for alert in memory.alerts:
        assert alert.checkpoint in there[alert.step]
        assert f"last healthy checkpoint: {alert.checkpoint}" in alert.text
    assert memory.alerts[-1].checkpoint == "model_before_collapse_step_10.ckpt"


def test_an_optional_latents_alert_names_the_rolling_file(tmp_path):
    """It is not answered, so the file keeps its name."""
    monitor, memory = keeping(tmp_path, optional=["spare"])
    driven(monitor, 40, 10)
    red = memory.alerts[-1]
    assert (red.latent, red.level) == ("spare", RED)
    assert red.checkpoint.startswith("last_healthy_step_")


def test_without_a_healthy_check_no_file_is_named(tmp_path):
    """Nothing is kept, so nothing is promised."""
    monitor, memory = keeping(tmp_path)
    driven(monitor, 20, 0, names=("spare",))
    assert memory.alerts
    assert all(alert.checkpoint is None for alert in memory.alerts)
    assert "checkpoint" not in memory.alerts[-1].text


# --- beta ---


@pytest.mark.parametrize(
    "beta", [0.25, np.float32(0.25), torch.tensor(0.25), torch.tensor([0.25], dtype=torch.float64)]
)
def test_beta_is_a_number_or_a_tensor(beta):
    """The report has the value of the window's last step."""
    monitor, memory = recorded(check_frequency=2)
    for value in (9.0, beta):
        monitor.observe("z", *gaussian((40, 3)))
        monitor.step(beta=value)
    assert memory.reports[0].measures == {"beta": 0.25}
    assert memory.reports[0].scalars()["collapse/beta"] == 0.25


def test_a_learned_beta_is_taken_without_its_graph():
    """A tensor that requires grad is read, and its graph is not kept alive by it."""
    monitor, memory = recorded(check_frequency=2)
    beta = torch.nn.Parameter(torch.tensor(0.5)) * 2.0
    monitor.observe("z", *gaussian((40, 3)))
    monitor.step(beta=beta)
    assert monitor._window._beta.grad_fn is None
    monitor.step(beta=torch.nn.Parameter(torch.tensor(0.5)) * 4.0)
    assert memory.reports[0].measures["beta"] == 2.0


def test_a_beta_that_is_not_told_is_absent():
    """It is not what it was at the step before."""
    monitor, memory = recorded(check_frequency=1)
    for beta in (1.0, None, math.nan):
        monitor.observe("z", *gaussian((40, 3)))
        monitor.step(beta=beta)
    assert [report.measures for report in memory.reports] == [{"beta": 1.0}, {}, {}]


@pytest.mark.parametrize(
    ("beta", "error", "told"),
    [
        (torch.ones(3), ValueError, r"beta: expected a scalar, got \[3\]"),
        ("0.5", TypeError, "beta: expected a number or a scalar tensor, got '0.5'"),
    ],
)
def test_a_beta_that_is_no_number_is_refused(beta, error, told):
    """Before anything is counted."""
    monitor, _ = recorded(check_frequency=1)
    with pytest.raises(error, match=told):
        monitor.step(beta=beta)


def test_red_is_held_at_orange_after_beta_was_lowered():
    """Lowered as the latent dies, it gets time; where it is not lowered the same run is red."""
    found = {}
    for lowered in (False, True):
        monitor, memory = recorded(check_frequency=CHECK)
        betas = [4.0 if step < 10 or not lowered else 1.0 for step in range(40)]
        driven(monitor, 40, 10, ("spare",), betas)
        found[lowered] = [report.level for report in memory.reports]
    first = found[False].index(RED)
    assert ORANGE not in found[False]
    assert found[True][first] is ORANGE
    assert RED in found[True][first + 1 : first + 4]


def test_the_advice_goes_back_to_the_last_healthy_beta():
    """Not to the first, nor to that of the check before."""
    monitor, memory = recorded(check_frequency=CHECK)
    betas = [0.5 + 0.25 * (step // CHECK) for step in range(40)]
    driven(monitor, 40, 10, ("spare",), betas)
    red = memory.alerts[-1]
    assert red.last_healthy_step == 10
    assert f"lower beta from {betas[red.step - 1]:.3g} towards {betas[9]:.3g}" in red.advice


# --- merged windows ---


def small_windows(sizes):
    """Reports of windows of so many samples each, and the batches."""
    batches = [gaussian((size, 3), seed) for seed, size in enumerate(sizes)]
    monitor, memory = recorded(check_frequency=1)
    for mean, log_variance in batches:
        mean.requires_grad_()
        monitor.observe("z", mean, log_variance)
        mean.sum().backward()
        monitor.step()
    return memory.reports, batches


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ([20, 20, 20, 20], [1, 2, 2, 2]),
        ([10] * 6, [1, 2, 3, 4, 4, 4]),
        ([1] * 12, [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8]),
        ([32, 32, 40], [1, 1, 1]),
        ([5, 100, 31, 5, 5], [1, 1, 2, 2, 3]),
        ([31, 1, 31], [1, 2, 2]),
    ],
)
def test_small_windows_are_merged_with_the_last_ones(sizes, merged):
    """Up to 32 samples and eight windows; the report is float64 numpy's on all of them."""
    reports, batches = small_windows(sizes)
    for i, (report, count) in enumerate(zip(reports, merged, strict=True)):
        used = batches[i + 1 - count : i + 1]
        expected = oracle.measures(*(joined(side) for side in zip(*used, strict=True)))
        latent = report.latents["z"]
        assert latent.measures["samples"] == sum(sizes[i + 1 - count : i + 1])
        for name in ("information", "kl", "mean_variance", "posterior_variance"):
            np.testing.assert_allclose(
                latent.per_unit[name], expected[name], rtol=2e-5, atol=1e-6, err_msg=name
            )


def test_growth_is_the_windows_own():
    """Merged or not, growth is that of the steps since the last check."""
    found = []
    for merged in (False, True):
        monitor, memory = recorded(check_frequency=4)
        for step in range(12):
            if merged or step >= 8:
                pulled(monitor, "z", step, True, batch=2)
            monitor.step()
        found.append(memory.reports[-1].latents["z"])
    assert [latent.measures["samples"] for latent in found] == [8, 24]
    assert found[0].measures["growth"] == pytest.approx(found[1].measures["growth"], rel=1e-5)
    np.testing.assert_allclose(found[0].per_unit["growth"], found[1].per_unit["growth"], rtol=1e-4)


def test_a_resumed_run_merges_what_it_had():
    """Small windows, beta and probes survive ``torch.load(weights_only=True)``."""

    def go_on(monitor, steps):
        for step in steps:
            pulled(monitor, "z", step, step < 8, batch=3)
            monitor.step(beta=1.0 + 0.1 * step)

    whole, memory = recorded(check_frequency=1)
    go_on(whole, range(24))
    first, _ = recorded(check_frequency=1)
    go_on(first, range(11))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second, after = recorded(check_frequency=1)
    second.load_state_dict(torch.load(file, weights_only=True))
    go_on(second, range(11, 24))
    same(memory.reports[11:], after.reports)
    assert any(report.alerts for report in after.reports)


def test_large_windows_are_not_kept():
    """A checkpoint holds at most one window of a latent that needs none of the last ones."""
    monitor, _ = recorded(check_frequency=1)
    for step in range(9):
        monitor.observe("z", *gaussian((64, 3), step))
        monitor.step()
    assert len(monitor.state_dict()["judge"]["recent"]["z"]) == 1


# --- the decoder that ignores a latent ---


class Answers:
    """A probe whose answers are given: the loss of ``own`` rows, then of dealt ones."""

    def __init__(self, gap):
        self.gap, self.calls = gap, 0

    def __call__(self, batch):
        self.calls += 1
        noise = torch.linspace(-0.1, 0.1, len(batch))
        return noise * (-1) ** self.calls + (self.gap if self.calls % 2 == 0 else 0.0)


class Alive(torch.nn.Module):
    """A latent that informs."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.weight * x, torch.full_like(x, -2.0)


def probed(gap, checks):
    """Level of each check of a latent that informs, and when it was probed."""
    model, answers = Alive(), Answers(gap)
    monitor, memory = recorded(check_frequency=1, probe=answers)
    monitor.watch(model, {"z": ""})
    for step in range(checks):
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(step))
        model(x)[0].sum().backward()
        monitor.step(batch=x)
    asked = [r.check for r in memory.reports if "decoder_gap" in r.latents["z"].measures]
    return [report.level for report in memory.reports], asked, memory.alerts


def test_a_decoder_that_ignores_what_the_latent_carries_is_red():
    """The tenth check's probe shows nothing, so the next two are probed, and red is held between
    the rare probes that follow.
    """
    levels, asked, alerts = probed(0.0, 32)
    assert asked == [9, 10, 11, 19, 29]
    assert set(levels[:9]) == {OK}
    assert max(levels[:11]) <= YELLOW
    assert set(levels[11:]) == {RED}
    red = alerts[-1]
    assert isinstance(red, Alert)
    assert red.probed
    assert [indicator.name for indicator in red.indicators] == ["decoder_ignores_latent"]
    assert "it does not need z" in red.advice


def test_a_decoder_that_uses_the_latent_is_never_accused():
    """A clear gap: no probe more than every tenth check, no alert."""
    levels, asked, alerts = probed(2.0, 32)
    assert asked == [9, 19, 29]
    assert set(levels) == {OK}
    assert alerts == []
