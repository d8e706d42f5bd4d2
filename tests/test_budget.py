"""How often a step is observed, chosen from what watching costs."""

import sys

import pytest

from collapse_logging import CollapseMonitor, budget, capture
from collapse_logging.budget import Budget
from collapse_logging.capture import Capture
from collapse_logging.window import Window

from .parts import VAE, gaussian, recorded, samples, train

pytestmark = pytest.mark.usefixtures("windows_alone")


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch, cost_told):
    """The budget's clock, and its real share."""
    clock = Clock()
    monkeypatch.setattr(budget, "perf_counter", clock)
    monkeypatch.setattr(budget, "SHARE", 0.005)
    return clock


def pass_steps(chosen, clock, steps, *, own, training, rows=128, frequency=50):
    """Steps with so much own time and training, in ms."""
    for step in range(steps):
        clock.now += training / 1e3
        with chosen, chosen:  # a hook within step
            clock.now += own / 1e3
        chosen.end_step((step + 1) % frequency == 0, rows, frequency)


@pytest.mark.parametrize(
    ("own", "training", "rows", "frequency", "every"),
    [
        (0.01, 10.0, 128, 50, 1),
        (0.1, 10.0, 128, 50, 3),
        (0.1, 10.0, 128, 500, 3),
        (0.1, 10.0, 128, 5000, 3),
        (0.12, 10.0, 128, 50, 4),
        (0.1, 100.0, 128, 50, 1),
        (0.4, 10.0, 128, 50, 5),  # the check alone costs more
        (0.1, 1.0, 128, 50, 5),  # ten steps a window at least
        (0.1, 1.0, 128, 200, 20),
        (0.1, 1.0, 128, 19, 1),
        (0.1, 1.0, 32, 50, 3),  # 512 samples a window at least
        (0.1, 1.0, 8, 50, 1),
    ],
)
def test_the_least_that_stays_within_the_share(clock, own, training, rows, frequency, every):
    """Every k-th step: own time is 0.5 % of the training's, unless a window gets too few."""
    chosen = Budget()
    sizes = {"own": own, "training": training, "rows": rows, "frequency": frequency}
    pass_steps(chosen, clock, 24, **sizes)
    assert chosen.chosen is None
    pass_steps(chosen, clock, 6, **sizes)
    assert chosen.chosen == every
    window = Window(frequency, every)
    observed = []
    for steps in range(frequency):
        window.steps = steps
        observed += [steps] if window.observes else []
    assert observed[-1] == frequency - 1  # the check's own step: single rows are read of it
    assert len(observed) == -(-frequency // every)
    allowed = 0.005 * training * frequency / own - budget.CHECK
    most = min(frequency // budget.FEWEST_STEPS, frequency * rows // budget.FEWEST_SAMPLES)
    assert frequency / every <= max(allowed, frequency / max(most, 1))
    assert every == 1 or frequency / (every - 1) > allowed  # the least k


def test_a_choice_is_kept(clock):
    """Once chosen it stays, whatever later steps cost."""
    chosen = Budget()
    pass_steps(chosen, clock, 30, own=0.1, training=10.0)
    pass_steps(chosen, clock, 100, own=9.0, training=10.0)
    assert chosen.chosen == 3


@pytest.mark.parametrize(
    ("own", "rows", "frequency", "read"),
    [
        (0.1, 1024, 50, None),  # every third step is enough
        (1.0, 1024, 50, 64),
        (1.0, 65, 50, 64),
        (1.0, 64, 50, None),
        (1.0, 1024, 7, None),  # 448 samples a window
    ],
)
def test_few_rows_where_few_steps_are_not_enough(clock, own, rows, frequency, read):
    """Where the floors keep the own time above the share, 64 rows of a batch are read."""
    chosen = Budget()
    pass_steps(chosen, clock, 40, own=own, training=10.0, rows=rows, frequency=frequency)
    assert chosen.rows == read


@pytest.mark.parametrize(("most", "samples_a_window"), [(1024, 64), (None, 100), (32, 32)])
def test_the_rows_are_read(most, samples_a_window):
    """Unless fewer are asked for, or all."""
    monitor, memory = recorded(check_frequency=1, max_rows=most)
    monitor._window.budget.rows = 64
    for seed in range(3):
        monitor.observe("z", *gaussian((100, 2), seed))
        monitor.step()
    assert memory.reports[-1].latents["z"].measures["samples"] == samples_a_window


def test_slow_first_steps_and_checks_do_not_enter(clock):
    """Warm-up steps and steps with a check say nothing about an ordinary step."""
    chosen = Budget()
    pass_steps(chosen, clock, 6, own=5.0, training=100.0, frequency=20)
    for _ in range(4):
        pass_steps(chosen, clock, 10, own=0.01, training=10.0, frequency=20)
        clock.now += 0.05
        with chosen:
            clock.now += 0.05
        chosen.end_step(True, 128, 20)
    assert chosen.chosen == 1


def test_what_was_spent_is_told(clock):
    """Milliseconds a step and the share of all time, of each window alone."""
    chosen = Budget(1)
    pass_steps(chosen, clock, 1, own=3.0, training=9.9)
    chosen.spent(1)
    pass_steps(chosen, clock, 10, own=0.1, training=9.9)
    assert chosen.spent(10) == pytest.approx({"overhead_ms": 0.1, "overhead_share": 0.01})
    assert chosen.spent(0) == {}
    pass_steps(chosen, clock, 10, own=0.4, training=1.6)
    assert chosen.spent(20) == pytest.approx({"overhead_ms": 0.2, "overhead_share": 0.2})


@pytest.mark.usefixtures("cost_told")
def test_reports_tell_it():
    """Each report has the two measures, and the share is one."""
    monitor, memory = recorded(check_frequency=2)
    for seed in range(4):
        monitor.observe("z", *gaussian((4, 2), seed))
        monitor.step()
    for report in memory.reports:
        assert report.measures["overhead_ms"] > 0
        assert 0 < report.measures["overhead_share"] <= 1


def test_every_kth_step_is_observed():
    """The steps between are neither kept nor counted, nor is their loss."""
    monitor, memory = recorded(check_frequency=10, observe_every=5)
    for step in range(1, 21):
        mean, log_variance = gaussian((4, 2), step)
        mean.requires_grad_()
        monitor.observe("z", mean, log_variance)
        assert bool(mean._backward_hooks) == (step % 5 == 0)
        monitor.step(reconstruction_loss=float(step))
    assert samples(memory) == 16
    assert [r.measures["reconstruction_loss"] for r in memory.reports] == [7.5, 17.5]


def test_a_step_between_calls_nothing():
    """Most steps are such; on a cold cache each further call would be felt."""
    monitor, _ = recorded(check_frequency=10, observe_every=10)
    posterior = gaussian((4, 2))
    calls = []
    for _ in range(25):
        called = []
        sys.setprofile(lambda frame, event, _, called=called: called.append(event))
        monitor.observe("z", *posterior)
        monitor.step(reconstruction_loss=1.0)
        sys.setprofile(None)
        calls.append(called.count("call"))
    assert set(calls[10:19] + calls[20:]) == {2}  # observe and step themselves
    assert min(calls[9], calls[19]) > 2


def test_what_the_user_says_beats_a_saved_choice():
    """A run that is resumed with ``observe_every`` observes so, whatever it did before."""
    before, _ = recorded(check_frequency=10, observe_every=5)
    for given, expected in ((1, 1), (None, 5)):
        after, _ = recorded(check_frequency=10, observe_every=given)
        after.load_state_dict(before.state_dict())
        assert after._window.budget.chosen == expected


def test_a_new_check_frequency_counts_at_once():
    """Also where the next steps were known to need nothing."""
    monitor, memory = recorded(check_frequency=10, observe_every=10)
    for step in range(1, 31):
        if step == 14:
            monitor.check_frequency = 5
        monitor.observe("z", *gaussian((4, 2), step))
        monitor.step()
    assert [report.step for report in memory.reports] == [10, 15, 20, 25, 30]


def test_a_model_is_looked_at_in_observed_steps_only(monkeypatch):
    """Neither its outputs nor its ``_last_z_list`` are read in the steps between."""
    monitor, memory = recorded(check_frequency=10, observe_every=5)
    model = VAE()
    monitor.watch(model, "encoder")
    looked = []
    monkeypatch.setattr(Capture, "settle", lambda capture: looked.append(monitor._window.steps))
    seen = capture.posterior_of
    monkeypatch.setattr(
        capture, "posterior_of", lambda output, form: looked.append("output") or seen(output, form)
    )
    train(model, monitor, 20, observe=False)
    assert looked == ["output", 4, "output", 9] * 2
    assert len(memory.reports) == 2


def test_rows_beyond_the_most_are_not_read():
    """With ``max_rows`` the first rows of a batch are read, their gradient with them."""
    whole, all_rows = recorded(check_frequency=2, max_rows=None)
    cut, first_rows = recorded(check_frequency=2, max_rows=4)
    for seed in range(2):
        for monitor, rows in ((whole, 4), (cut, 6)):
            mean, log_variance = (side[:rows] for side in gaussian((6, 3), seed))
            mean.requires_grad_()
            monitor.observe("z", mean, log_variance)
            (mean**3).sum().backward()
            monitor.step()
    expected, got = (memory.reports[0].latents["z"] for memory in (all_rows, first_rows))
    assert got.measures == expected.measures
    assert got.measures["growth"] < 0


@pytest.mark.parametrize("argument", ["observe_every", "max_rows"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_neither_is_anything_but_a_count(argument, value, error):
    """A wrong value names the argument."""
    with pytest.raises(error, match=f"{argument}: expected"):
        CollapseMonitor(**{argument: value})


def test_the_choice_is_part_of_the_state(clock):
    """A resumed run observes as often as the one that was stopped."""
    monitor, _ = recorded(check_frequency=50)
    pass_steps(monitor._window.budget, clock, 30, own=0.1, training=10.0)
    resumed, _ = recorded(check_frequency=50)
    resumed.load_state_dict(monitor.state_dict())
    assert resumed._window.budget.chosen == 3
