"""A resumed monitor goes on as if it had never stopped."""

import io

import pytest
import torch

from collapse_logging import CollapseMonitor
from collapse_logging.writers import MemoryWriter, TensorBoardWriter

from .lightning.readers import events
from .parts import gaussian, pulled_step, recorded, samples, warnings_in
from .test_transfer import LateTransfer

FREQUENCY, STEPS = 5, 60


def drive(monitor, start, stop):
    """A latent with positions that lives, then one that collapses beside it, then NaN."""
    for step in range(start, stop):
        alive = gaussian((6, 3, 2), 1000 + step)
        monitor.observe("positions", *alive)
        if step % 17 == 3:
            monitor.observe("nan", *(side * float("nan") for side in alive))
        spread, log_variance = (1.0, -2.0) if step <= 20 else (0.01, 0.0)
        pulled_step(monitor, step, spread, log_variance, loss=1.0 + 0.01 * step + 0.1 * (step % 3))


def saved_and_loaded(state):
    """Through a checkpoint, as Lightning would."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def flat(values, path=""):
    """A report's plain values by path."""
    if isinstance(values, dict):
        pairs = values.items()
    elif isinstance(values, list):
        pairs = enumerate(values)
    else:
        return {path: values}
    return {k: v for key, value in pairs for k, v in flat(value, f"{path}/{key}").items()}


def same(first, second):
    """Whether two lists of reports say the same, numbers to five digits."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        expected, got = flat(one.to_dict()), flat(other.to_dict())
        assert expected.keys() == got.keys()
        for key, value in expected.items():
            close = isinstance(value, float)
            assert got[key] == (pytest.approx(value, rel=1e-4, abs=1e-6) if close else value), key


@pytest.fixture(scope="module")
def undisturbed():
    """Reports of a run that was never stopped."""
    monitor, memory = recorded(check_frequency=FREQUENCY)
    drive(monitor, 0, STEPS)
    monitor.flush()
    assert memory.alerts
    return memory.reports


@pytest.mark.parametrize("at", [0, 1, 5, 7, 13, 25, 29, 40, 59])
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_resumed_is_undisturbed(undisturbed, at, used):
    """Saved at any step and loaded, the reports that follow are those of a run never stopped."""
    monitor, before = recorded(check_frequency=FREQUENCY)
    drive(monitor, 0, at)
    state = saved_and_loaded(monitor.state_dict())
    monitor, after = recorded(check_frequency=FREQUENCY)
    if used:  # the state replaces what the monitor had
        drive(monitor, 50, 57)
        after.reports.clear()
    monitor.load_state_dict(state)
    drive(monitor, at, STEPS)
    monitor.flush()
    same(undisturbed, before.reports + after.reports)


def spoiled(monitor, start, stop):
    """Steps of a latent of which one element is NaN in the first and in the third window."""
    for step in range(start, stop):
        mean, log_variance = gaussian((16, 4), step)
        if step in (4, 12):
            mean[0, 0] = float("nan")
        monitor.observe("z", mean, log_variance)
        monitor.step()


def far_away(monitor, start, stop):
    """Steps of a latent far from zero, of which the first batches are empty."""
    for step in range(start, stop):
        mean, log_variance = gaussian((0 if step < 3 else 16, 4), step)
        monitor.observe("z", mean + 1e4, log_variance)
        monitor.step()


@pytest.mark.parametrize("run", [spoiled, far_away])
@pytest.mark.parametrize("at", [2, 5, 7, 10, 15])
def test_resumed_to_the_last_digit(run, at):
    """A resume forgets neither which latents are read by element, nor that a shift is to be set.

    It did: after a first NaN, and where nothing but empty batches had been seen.
    """
    undisturbed, expected = recorded(check_frequency=FREQUENCY)
    run(undisturbed, 0, 25)
    monitor, before = recorded(check_frequency=FREQUENCY)
    run(monitor, 0, at)
    state = saved_and_loaded(monitor.state_dict())
    monitor, after = recorded(check_frequency=FREQUENCY)
    monitor.load_state_dict(state)
    run(monitor, at, 25)
    reports = before.reports + after.reports
    told = [report.to_dict()["latents"] for report in reports]
    assert told == [report.to_dict()["latents"] for report in expected.reports]


def test_taking_a_state_disturbs_nothing(undisturbed):
    """A run whose state is taken at every step reports as one that is left alone."""
    monitor, memory = recorded(check_frequency=FREQUENCY)
    for step in range(STEPS):
        drive(monitor, step, step + 1)
        monitor.state_dict()
    monitor.flush()
    same(undisturbed, memory.reports)


def test_a_state_does_not_change_afterwards():
    """Going on training after state_dict leaves the state as it was."""
    monitor, _ = recorded(check_frequency=FREQUENCY)
    drive(monitor, 0, 7)
    state = monitor.state_dict()
    before = saved_and_loaded(state)
    drive(monitor, 7, 20)
    now, then = flat(state), flat(before)
    names = {key for key, value in then.items() if isinstance(value, str)}
    assert {key: now.pop(key) for key in names} == {key: then.pop(key) for key in names}
    torch.testing.assert_close(now, then, equal_nan=True)


def test_loading_does_not_share_tensors():
    """Two monitors that load one state are apart."""
    first, _ = recorded(check_frequency=FREQUENCY)
    drive(first, 0, 3)
    state, said = first.state_dict(), []
    for _ in range(2):
        monitor, memory = recorded(check_frequency=FREQUENCY)
        monitor.load_state_dict(state)
        said.append(state["window"]["losses"].clone())
        drive(monitor, 3, 5)
        assert samples(memory, "positions") == 30
    torch.testing.assert_close(*said, equal_nan=True)


def test_a_copy_under_way_is_not_lost():
    """A state that is taken while a copy is under way waits for it and reports it first."""
    monitor, memory = recorded(check_frequency=FREQUENCY)
    monitor._delivery.transfer = LateTransfer(0, promptness=0.0)
    drive(monitor, 0, 7)
    assert memory.reports == []
    state = monitor.state_dict()
    assert [report.step for report in memory.reports] == [5]
    resumed, after = recorded(check_frequency=FREQUENCY)
    resumed.load_state_dict(state)
    drive(resumed, 7, 10)
    assert (after.reports[0].check, after.reports[0].steps) == (1, 5)


def test_a_state_of_another_version(caplog):
    """It is left aside with a warning, and the monitor starts afresh."""
    monitor, memory = recorded(check_frequency=FREQUENCY)
    monitor.load_state_dict({"version": 99})
    drive(monitor, 0, 5)
    assert memory.reports[0].step == 5
    assert len(warnings_in(caplog)) == 1


def test_another_frequency_after_the_resume():
    """A state saved late in a long window is checked at once under a shorter frequency."""
    monitor, _ = recorded(check_frequency=50)
    drive(monitor, 0, 20)
    state = monitor.state_dict()
    monitor = CollapseMonitor(check_frequency=4, verbose=False)
    monitor.load_state_dict(state)
    drive(monitor, 20, 21)
    assert (monitor.report.step, monitor.report.steps) == (21, 21)


@pytest.mark.parametrize("state", [None, 7, [], {}, {"version": 99}, "whole"])
def test_what_is_no_state_is_left_aside(state, caplog):
    """It is told, and nothing of it is kept, also where only its end is broken."""
    monitor, memory = recorded(check_frequency=FREQUENCY)
    if state == "whole":
        drive(monitor, 0, 7)
        state = {**monitor.state_dict(), "judge": {}}
        monitor, memory = recorded(check_frequency=FREQUENCY)
    monitor.load_state_dict(state)
    drive(monitor, 0, 5)
    assert [(report.step, report.steps, report.check) for report in memory.reports] == [(5, 5, 0)]
    assert len(warnings_in(caplog)) == 1
    assert "starts afresh" in warnings_in(caplog)[0]


def test_a_trial_run_without_data_has_a_state():
    """Sums on the meta device are nothing to go on from."""
    monitor, _ = recorded(check_frequency=FREQUENCY)
    monitor.observe("z", torch.zeros(4, 3, device="meta"), torch.zeros(4, 3, device="meta"))
    monitor.step()
    resumed, memory = recorded(check_frequency=FREQUENCY)
    resumed.load_state_dict(saved_and_loaded(monitor.state_dict()))
    drive(resumed, 1, 5)
    assert memory.reports[0].steps == 5


@pytest.mark.parametrize("state", [{"version": 99}, "at the start"])
def test_a_fresh_start_voids_no_curve(tmp_path, state):
    """A state that cannot be read, or that has nothing in it, hides nothing in TensorBoard."""
    first = CollapseMonitor([TensorBoardWriter(tmp_path)], check_frequency=FREQUENCY, verbose=False)
    state = first.state_dict() if state == "at the start" else state
    drive(first, 0, 10)
    first.close()
    (earlier,) = tmp_path.glob("events*")  # files of one second are read in any order
    earlier.rename(tmp_path / "events.out.tfevents.0000000001.earlier")
    again = CollapseMonitor([TensorBoardWriter(tmp_path)], check_frequency=FREQUENCY, verbose=False)
    again.load_state_dict(state)
    again.close()
    assert [event.step for event in events(tmp_path).Scalars("collapse/level")] == [5, 10]


def test_a_monitor_that_is_made_calls_no_writer():
    """Not before the first report, and no earlier at a checkpoint."""

    class Untouched(MemoryWriter):
        def flush(self):
            raise AssertionError("nothing was written yet")

    monitor = CollapseMonitor([Untouched()], verbose=False, strict=True)
    monitor.state_dict()
