"""The frequency of checks as a schedule by step, in a plain loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_logging import CollapseMonitor, Rules
from collapse_logging.schedule import checked_frequency, steps_of_window

from .parts import gaussian, recorded

SCHEDULE = {0: 10, 30: 5, 44: 2}


def drive(monitor, start, stop, first=1):
    """Steps from ``start`` on, the first of which is called ``first``."""
    for step in range(start, stop):
        monitor.observe("z", *gaussian((16, 4), step))
        monitor.step(step=step + first)


def checked_at(memory):
    """Steps of the checks."""
    return [report.step for report in memory.reports]


def by_the_definition(schedule, after):
    """Go on step by step until the window has as many steps as hold at its end."""
    steps = 1
    while steps < schedule[max(begin for begin in schedule if begin <= after + steps)]:
        steps += 1
    return steps


@given(
    st.dictionaries(st.integers(1, 60), st.integers(1, 30), max_size=4),
    st.integers(1, 30),
    st.integers(0, 80),
)
def test_a_window_ends_when_it_has_the_steps_that_hold_then(later, first, after):
    """The closed form is the step by step one, for any schedule."""
    schedule = checked_frequency({0: first, **later})
    assert steps_of_window(schedule, after) == by_the_definition(schedule, after)


def test_checks_come_by_the_schedule():
    """Every ten steps, from step 30 on every five, from 44 on every two."""
    monitor, memory = recorded(check_frequency=SCHEDULE)
    drive(monitor, 0, 50)
    assert checked_at(memory) == [10, 20, 30, 35, 40, 44, 46, 48, 50]
    assert [report.steps for report in memory.reports] == [10, 10, 10, 5, 5, 4, 2, 2, 2]
    assert monitor.check_frequency == 2


def test_a_field_of_rules_and_text_keys_are_as_good():
    """A configuration file may have its steps as texts, and in any order."""
    texts = {"44": 2, "0": 10, "30": 5}
    assert list(checked_frequency(texts).items()) == list(SCHEDULE.items())
    for settings in ({"rules": Rules(check_frequency=texts)}, {"check_frequency": texts}):
        monitor, memory = recorded(**settings)
        drive(monitor, 0, 50)
        assert checked_at(memory)[-4:] == [44, 46, 48, 50]
    assert hash(Rules(check_frequency=texts)) == hash(Rules())


@pytest.mark.parametrize("at", [7, 30, 33, 45])
def test_a_resumed_run_keeps_to_the_schedule(at):
    """Saved in the midst of a window or between two: the same checks as undisturbed."""
    monitor, before = recorded(check_frequency=SCHEDULE)
    drive(monitor, 0, at)
    state = monitor.state_dict()
    monitor, after = recorded(check_frequency=SCHEDULE)
    monitor.load_state_dict(state)
    drive(monitor, at, 50)
    assert checked_at(before) + checked_at(after) == [10, 20, 30, 35, 40, 44, 46, 48, 50]


def test_a_run_that_goes_on_at_a_later_step():
    """Steps of a tracker's axis count, not those of this process: 1,000 is late in the schedule."""
    monitor, memory = recorded(check_frequency=SCHEDULE)
    drive(monitor, 0, 16, first=1001)
    assert checked_at(memory) == [1010, 1012, 1014, 1016]


def test_the_manuals_way_of_setting_it():
    """``check_frequency`` set in training, as the manual's loop does: it holds at once."""

    def frequency(step):
        return 10 if step < 30 else 5 if step < 44 else 2

    monitor, memory = recorded(check_frequency=10)
    for step in range(50):
        monitor.check_frequency = frequency(step)
        drive(monitor, step, step + 1)
    assert checked_at(memory) == [10, 20, 30, 35, 40, 45, 47, 49]
    monitor.check_frequency = {0: 7}
    assert monitor.check_frequency == 7


@pytest.mark.usefixtures("cost_told")
def test_the_budget_chooses_again(monkeypatch):
    """Where windows get shorter ten observed steps are kept: every which step is asked anew."""
    monkeypatch.setattr("collapse_logging.budget.SHARE", 1e-9)  # as sparse as may be
    monitor, memory = recorded(check_frequency={0: 100, 200: 20}, max_rows=None)
    seen = []
    for step in range(300):
        if monitor.observes:
            seen.append(step)
        monitor.observe("z", *gaussian((64, 4), step))
        monitor.step()
    observed = [sum(a <= step < a + 20 for step in seen) for a in (120, 160, 240, 260, 280)]
    assert observed == [2, 2, 10, 10, 10]
    assert [r.latents["z"].measures["samples"] for r in memory.reports][-1] == 640


@pytest.mark.usefixtures("cost_told")
def test_the_users_own_observe_every_stays(monkeypatch):
    """Another frequency does not choose where the user has."""
    monitor, _ = recorded(check_frequency={0: 8, 16: 4}, observe_every=2)
    seen = []
    for step in range(32):
        seen.append(monitor.observes)
        drive(monitor, step, step + 1)
    assert seen == [False, True] * 16


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({}, ValueError, "begins at step 0"),
        (
            {100: 50},
            ValueError,
            r"expected a schedule that begins at step 0.*got the steps \[100\]",
        ),
        ({0: 50, "0": 20}, ValueError, "each step once"),
        ({0: 0}, ValueError, "check_frequency from step 0: expected an integer of at least 1"),
        ({0: 5, -3: 5}, ValueError, "a step of the schedule: expected an integer of at least 0"),
        ({0: 5, "soon": 5}, TypeError, r"expected a schedule by step, e\.g\. .*got 'soon'"),
        ({0: 5, 1.5: 5}, TypeError, "a step of the schedule"),
        ("fast", TypeError, "check_frequency: expected an integer"),
        ([100, 50], TypeError, "check_frequency: expected an integer"),
    ],
)
def test_what_is_no_schedule_is_refused(wrong, error, words):
    """At once, with what was expected, wherever it is given."""
    monitor = CollapseMonitor(verbose=False)
    with pytest.raises(error, match=words):
        CollapseMonitor(check_frequency=wrong)
    with pytest.raises(error, match=words):
        monitor.check_frequency = wrong
    assert monitor.check_frequency == 50
