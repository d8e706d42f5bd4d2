"""Responses: the model from before a collapse is kept, and a run may be stopped."""

import pytest
import torch

from collapse_logging import CollapseMonitor, Level, Rules
from collapse_logging.report import Alert, Report
from collapse_logging.responses import KeepLastHealthy, StopWhenCollapsed

from .parts import VAE, healthy_then_collapsing, recorded, warnings_in


class Saver:
    """Saves a model with ``torch.save``; fails half-way on demand."""

    def __init__(self):
        self.model, self.fails, self.saved = VAE(), False, 0

    def __call__(self, path):
        self.saved += 1
        torch.save(self.model.state_dict(), path)
        if self.fails:
            raise OSError("disk full")


def names(folder):
    """File names, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def keeping(folder, every=2, **settings):
    """A monitor that checks at each second step and keeps the last healthy model."""
    saver = Saver()
    keep = KeepLastHealthy(saver, folder, every)
    settings = {
        "responses": [keep],
        "rules": Rules(check_frequency=2),
        "verbose": False,
        **settings,
    }
    return CollapseMonitor(**settings), keep, saver


def test_one_rolling_file_while_healthy(tmp_path):
    """While the latent is healthy one file is there, renewed every so many checks."""
    folder = tmp_path / "made" / "here"
    monitor, keep, saver = keeping(folder, every=3, strict=True)
    seen = []
    for step in range(0, 20, 2):
        healthy_then_collapsing(monitor, 2, 0, start=step)
        seen += names(folder)
    steps = [2, 2, 2, 8, 8, 8, 14, 14, 14, 20]
    assert seen == [f"last_healthy_step_{step}.ckpt" for step in steps]
    assert keep.checkpoint == folder / seen[-1]
    loaded = torch.load(keep.checkpoint, weights_only=True)
    assert loaded.keys() == saver.model.state_dict().keys()


def test_a_collapse_keeps_the_model_from_before_it(tmp_path):
    """At red the healthy model gets its final name, and the model at the alarm lies beside it."""
    monitor, keep, saver = keeping(tmp_path, every=1, strict=True)
    healthy_then_collapsing(monitor, 6, 0)
    torch.save(before := saver.model.state_dict(), tmp_path.parent / "before")
    before = {key: value.clone() for key, value in before.items()}
    with torch.no_grad():
        for parameter in saver.model.parameters():
            parameter.add_(1.0)
    alarm = None
    for start in range(6, 40, 2):
        healthy_then_collapsing(monitor, 0, 2, start=start)
        red = monitor.report.level is Level.RED
        alarm = alarm or (monitor.report.step if red else None)
    assert monitor.report.last_healthy_step == 6
    alarmed = f"model_at_alarm_step_{alarm}.ckpt"
    assert names(tmp_path) == [alarmed, "model_before_collapse_step_6.ckpt"]
    kept = torch.load(tmp_path / "model_before_collapse_step_6.ckpt", weights_only=True)
    after = torch.load(tmp_path / alarmed, weights_only=True)
    assert all(torch.equal(kept[key], before[key]) for key in before)
    assert all(torch.equal(after[key], before[key] + 1.0) for key in before)
    assert keep.checkpoint is None


def test_after_a_recovery_it_rolls_again(tmp_path):
    """A latent that recovers gets a new rolling file; what was kept of the collapse stays."""
    monitor, keep, _ = keeping(tmp_path, every=100, strict=True)
    healthy_then_collapsing(monitor, 4, 20)
    kept = names(tmp_path)
    assert [name.rsplit("_", 1)[0] for name in kept] == [
        "model_at_alarm_step",
        "model_before_collapse_step",
    ]
    healthy_then_collapsing(monitor, 20, 0, start=24)
    assert monitor.report.level is Level.OK
    assert set(names(tmp_path)) == {*kept, keep.checkpoint.name}
    assert keep.checkpoint.name.startswith("last_healthy_step_")


@pytest.mark.parametrize("strict", [False, True])
def test_a_save_that_fails_leaves_nothing_half_written(tmp_path, strict, caplog):
    """When save raises, the old file stays whole, no part is left, and the next check tries."""
    monitor, keep, saver = keeping(tmp_path, every=1, strict=strict)
    healthy_then_collapsing(monitor, 4, 0)
    old = names(tmp_path)
    assert old == ["last_healthy_step_4.ckpt"]
    saver.fails = True
    if strict:
        with pytest.raises(OSError, match="disk full"):
            healthy_then_collapsing(monitor, 2, 0, start=4)
    else:
        healthy_then_collapsing(monitor, 2, 0, start=4)
        assert "a response failed at step 6" in warnings_in(caplog)[0]
    assert names(tmp_path) == old
    assert torch.load(keep.checkpoint, weights_only=True)
    saver.fails = False
    healthy_then_collapsing(monitor, 2, 0, start=6)
    assert names(tmp_path) == ["last_healthy_step_8.ckpt"]


def test_a_latent_that_never_lived_keeps_only_the_alarm(tmp_path):
    """Without a healthy check there is no model from before; the state at the alarm is saved."""
    monitor, keep, _ = keeping(tmp_path, strict=True)
    healthy_then_collapsing(monitor, 0, 20)
    assert monitor.report.level is Level.RED
    assert keep.checkpoint is None
    assert [name.rsplit("_", 1)[0] for name in names(tmp_path)] == ["model_at_alarm_step"]


def test_two_latents_that_collapse_at_once_are_one_alarm(tmp_path):
    """Two red alerts at one step save once each what was before and what is at the alarm."""
    saver = Saver()
    keep = KeepLastHealthy(saver, tmp_path, 1)
    keep.on_report(Report(10, 0, Level.OK, {}, last_healthy_step=10))
    for latent in ("a", "b"):
        keep(Alert(20, latent, Level.OK, Level.RED, last_healthy_step=10))
    assert names(tmp_path) == ["model_at_alarm_step_20.ckpt", "model_before_collapse_step_10.ckpt"]
    assert saver.saved == 2


@pytest.mark.parametrize(
    "alert",
    [
        Alert(20, "z", Level.OK, Level.ORANGE),
        Alert(20, "z", Level.RED, Level.OK),
        Alert(20, "z", Level.RED, Level.RED, kind="explosion"),
    ],
)
def test_other_alerts_save_nothing(tmp_path, alert):
    """Lesser levels, recoveries and explosions write no file."""
    KeepLastHealthy(Saver(), tmp_path)(alert)
    assert names(tmp_path) == []


def reports(levels):
    """A report a level."""
    return [Report(10 * i, i, level, {}) for i, level in enumerate(levels, 1)]


@pytest.mark.parametrize(
    ("levels", "stopped_at"),
    [
        ("RRR", [30]),
        ("RRORRR", [60]),
        ("RRYRRGRR", []),
        ("OOOOOO", []),
        ("RRRRRR", [30]),
        ("GRRRGRRR", [40, 80]),
    ],
)
def test_stops_after_red_checks_in_a_row(levels, stopped_at):
    """Only red checks in a row count, and each row of them stops once."""
    letters = {"G": Level.OK, "Y": Level.YELLOW, "O": Level.ORANGE, "R": Level.RED}
    told = []
    stop = StopWhenCollapsed(told.append, patience=3)
    stopped = []
    for report in reports(letters[letter] for letter in levels):
        before = len(told)
        stop.on_report(report)
        stopped += [report.step] * (len(told) - before)
        stop(Alert(report.step, "z", Level.OK, Level.RED))
    assert stopped == stopped_at
    assert all("3 checks in a row were red" in message for message in told)


def test_a_collapsing_run_is_stopped():
    """In a real monitor the stop comes with the patience-th red check, told with its step."""
    told = []
    stop = StopWhenCollapsed(told.append, patience=4)
    monitor, memory = recorded(responses=[stop], check_frequency=2)
    healthy_then_collapsing(monitor, 6, 40)
    red = [report.step for report in memory.reports if report.level is Level.RED]
    assert len(told) == 1
    assert f"stopped at step {red[3]}: 4 checks" in told[0]
    assert "last healthy step: 6" in told[0]


def test_one_response_that_fails_does_not_stop_the_others(caplog):
    """Responses are apart: the one after the one that raises is called with the same alert."""
    seen = []

    def broken(alert):
        raise OSError("mine")

    monitor = CollapseMonitor((), [broken, seen.append], check_frequency=2, verbose=False)
    healthy_then_collapsing(monitor, 4, 20)
    assert [alert.level for alert in seen][-1] is Level.RED
    assert len(warnings_in(caplog)) == len(seen)


def resumed(keep, folder):
    """A response of a new session, from the state of the old one."""
    again = KeepLastHealthy(Saver(), folder, 2)
    again.load_state_dict(dict(keep.state_dict()))
    return again


def test_a_resumed_response_goes_on_with_its_file(tmp_path):
    """The file is renewed when its time has come, and not before; the old one goes then."""
    monitor, keep, _ = keeping(tmp_path, strict=True)
    healthy_then_collapsing(monitor, 2, 0)
    again = resumed(keep, tmp_path)
    assert again.checkpoint == tmp_path / "last_healthy_step_2.ckpt"
    for check, expected in ((1, 2), (2, 6)):
        again.on_report(Report(2 * check + 2, check, Level.OK, {}, last_healthy_step=2 * check + 2))
        assert names(tmp_path) == [f"last_healthy_step_{expected}.ckpt"]


def test_a_file_that_a_killed_session_renamed_is_taken_back(tmp_path):
    """The state is from before the alarm: the collapse will be met again, under the same name."""
    monitor, keep, _ = keeping(tmp_path, strict=True)
    healthy_then_collapsing(monitor, 2, 0)
    state = keep.state_dict()
    healthy_then_collapsing(monitor, 0, 40, start=2)
    assert "model_before_collapse_step_2.ckpt" in names(tmp_path)
    again = KeepLastHealthy(Saver(), tmp_path, 2)
    again.load_state_dict(state)
    assert again.checkpoint == tmp_path / "last_healthy_step_2.ckpt"
    assert again.checkpoint.exists()


def test_a_file_that_a_killed_session_replaced(tmp_path):
    """Then the newest healthy one is as good; without any there is none."""
    monitor, keep, _ = keeping(tmp_path, strict=True)
    healthy_then_collapsing(monitor, 2, 0)
    state = keep.state_dict()
    healthy_then_collapsing(monitor, 4, 0, start=2)
    assert names(tmp_path) == ["last_healthy_step_6.ckpt"]
    again = KeepLastHealthy(Saver(), tmp_path, 2)
    again.load_state_dict(state)
    assert again.checkpoint == tmp_path / "last_healthy_step_6.ckpt"
    again.checkpoint.unlink()
    again.load_state_dict(state)
    assert again.checkpoint is None


def test_a_response_of_all_ranks_is_not_called_by_one(tmp_path):
    """Where the ranks do not watch together a save by one of them would hang the others."""
    monitor, keep, saver = keeping(tmp_path, strict=True)
    keep.needs_all_ranks = True
    healthy_then_collapsing(monitor, 6, 0)
    assert monitor.report.healthy
    assert saver.saved == 0


def test_a_rank_that_does_not_own_the_files_leaves_them_alone(tmp_path):
    """It saves with the others and renames and removes nothing."""
    asked = []
    keep = KeepLastHealthy(asked.append, tmp_path, every=1, owner=False)
    for step in (2, 4):
        keep.on_report(Report(step, step, Level.OK, {}, last_healthy_step=step))
    assert asked == [tmp_path / f".last_healthy_step_{step}.ckpt.part" for step in (2, 4)]
    assert names(tmp_path) == []
