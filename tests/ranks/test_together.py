"""Ranks find each other, decide the same, and never wait for one that does not come."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from collapse_logging import CollapseMonitor, Level, Report, Rules, handshake
from collapse_logging.responses import CheckResponse, StopWhenCollapsed
from collapse_logging.writers import LedgerWriter, MemoryWriter
from collapse_logging.writers.ledger import read_ledger

from .. import oracle
from ..parts import gaussian
from .processes import on_ranks


class Collectives:
    """Counts what this process starts."""

    def __init__(self) -> None:
        self.started: list[str] = []
        for name in ("all_reduce", "all_gather_object", "broadcast", "barrier"):
            setattr(dist, name, self._counted(name, getattr(dist, name)))

    def _counted(self, name: str, call: Any) -> Any:
        def counted(*given: Any, **named: Any) -> Any:
            self.started.append(name)
            return call(*given, **named)

        return counted


def stepped(monitor: CollapseMonitor, rank: int, step: int, alive: bool = True) -> Report | None:
    """One step of a latent with a loss that shrinks its means."""
    spread, log_variance = (1.0, -2.0) if alive else (0.01, 0.0)
    mean, log_variance = gaussian((16 + rank, 4), 100 * rank + step, spread, log_variance)
    mean.requires_grad_()
    monitor.observe("z", mean, log_variance)
    (0.5 * mean**2).sum().backward()
    return monitor.step(reconstruction_loss=1.0 + rank)


def quiet(**settings: Any) -> CollapseMonitor:
    """A monitor that checks at each second step."""
    return CollapseMonitor(**{"verbose": False, "check_frequency": 2, **settings})


def hanging(rank: int) -> None:
    """Rank 1 starts a collective that rank 0 does not join."""
    if rank == 1:
        dist.all_reduce(torch.zeros(1))
    time.sleep(20)


def test_a_hang_is_a_failure(tmp_path: Path) -> None:
    """The test of all tests here: a rank that waits for ever is found and killed."""
    with pytest.raises(AssertionError, match="were still running after"):
        on_ranks(hanging, 2, tmp_path, seconds=3)


# --- decisions ---


def collapsing_on_one(rank: int, folder: Path) -> dict[str, Any]:
    """Rank 1's share of the data is dead from the start, the other's dies later."""
    counted, stopped, heard = Collectives(), [], []
    monitor = quiet(
        responses=[StopWhenCollapsed(stopped.append, 3), heard.append],
        log_dir=folder,
        writers=[memory := MemoryWriter()],
    )
    reports = []
    for step in range(60):
        report = stepped(monitor, rank, step, alive=rank == 0 and step < 20)
        reports += [] if report is None else [report]
        if stopped:
            break
    monitor.close()
    levels = [(report.step, report.level, report.last_healthy_step) for report in reports]
    return {
        "levels": levels,
        "stopped": (step, stopped),
        "heard": [(alert.step, alert.level) for alert in heard],
        "written": len(memory.reports),
        "collectives": counted.started,
        "growth": reports[0].latents["z"].measures["growth"],
        "loss": reports[0].measures["reconstruction_loss"],
    }


@pytest.mark.parametrize("ranks", [2, 4])
def test_all_ranks_decide_the_same(tmp_path: Path, ranks: int) -> None:
    """One rank's share is dead: the run is judged as a whole, all stop at the same step, and one
    ledger is written. A check is one all-reduce; only the first also agrees on the layout.
    """
    said = [result for result, _ in on_ranks(collapsing_on_one, ranks, tmp_path, tmp_path / "log")]
    first = said[0]
    assert not isinstance(first, str), first
    for key in ("levels", "stopped", "heard", "growth", "loss"):
        assert all(other[key] == first[key] for other in said)
    assert first["levels"][3][1:] == (Level.OK, first["levels"][3][0])
    assert first["levels"][-1][1] is Level.RED
    assert len(first["stopped"][1]) == 1
    checks = len(first["levels"])
    assert [rank["written"] for rank in said] == [checks] + [0] * (ranks - 1)
    (ledger,) = tmp_path.rglob("*.jsonl")
    steps = [line["step"] for line in read_ledger(ledger) if line["type"] == "report"]
    assert steps == [step for step, *_ in first["levels"]]
    for rank in said:
        assert rank["collectives"] == ["all_gather_object"] + ["all_reduce"] * checks


def test_growth_is_over_ranks_and_steps(tmp_path: Path) -> None:
    """A t value of the g of every rank's every step; the loss is the mean over ranks."""
    said = [result for result, _ in on_ranks(collapsing_on_one, 2, tmp_path, tmp_path / "log")]
    steps = []
    for rank in range(2):
        for step in range(2):
            spread, log_variance = (1.0, -2.0) if rank == 0 else (0.01, 0.0)
            mean, _ = gaussian((16 + rank, 4), 100 * rank + step, spread, log_variance)
            steps.append(oracle.growth_of_batch(mean.numpy(), mean.numpy()))
    np.testing.assert_allclose(said[0]["growth"], oracle.growth(steps)[-1], rtol=1e-5)
    assert said[0]["loss"] == 1.5


# --- the handshake ---


def alone_on_rank_0(rank: int) -> Any:
    """Only rank 0 has a monitor."""
    handshake.PATIENCE = timedelta(seconds=1)
    if rank != 0:
        return None
    heard: list[Any] = []
    monitor = quiet(responses=[heard.append])
    levels = [
        report.level for step in range(60) if (report := stepped(monitor, 0, step, step < 20))
    ]
    monitor.close()
    return levels[-1], len(heard)


def test_a_monitor_on_rank_zero_alone_does_not_hang(tmp_path: Path) -> None:
    """It waits its patience out, says so once, judges its own share and calls its responses."""
    (result, told), (nothing, _) = on_ranks(alone_on_rank_0, 2, tmp_path)
    assert nothing is None
    assert result[0] is Level.RED, result
    assert result[1] > 0
    assert len(told) == 1
    assert "not all of the 2 ranks" in told[0]


def late_rank(rank: int) -> bool:
    """Rank 1's monitor takes its first step when rank 0 has given up waiting."""
    handshake.PATIENCE = timedelta(seconds=1)
    time.sleep(2.0 * rank)
    monitor = quiet()
    for step in range(4):
        stepped(monitor, rank, step)
    monitor.close()
    return monitor._delivery.ranks.together


def test_the_first_to_give_up_decides_for_all(tmp_path: Path) -> None:
    """A rank that comes too late does not start a collective alone."""
    assert [together for together, _ in on_ranks(late_rank, 2, tmp_path)] == [False, False]


def differing(rank: int, settings: list[dict[str, Any]], resumed: bool) -> None:
    """Each rank has settings of its own; or one continues an open window."""
    monitor = quiet(**settings[rank])
    if resumed and rank == 1:
        other = quiet(across_ranks=False)
        stepped(other, 0, 0)
        monitor.load_state_dict(other.state_dict())
    stepped(monitor, rank, 0)


@pytest.mark.parametrize(
    ("settings", "resumed", "message"),
    [
        ([{"check_frequency": 2}, {"check_frequency": 3}], False, "check_frequency: expected the"),
        ([{"rules": "default"}, {"rules": "fast", "window_size": 100}], False, "expected the same"),
        ([{}, {"optional": ["z"]}], False, "optional: expected the same on all ranks, got [[], ['"),
        ([{}, {}], True, "open_steps: expected the same on all ranks, got [0, 1]"),
    ],
)
def test_different_settings_are_an_error_everywhere(
    tmp_path: Path, settings: list[dict[str, Any]], resumed: bool, message: str
) -> None:
    """Before the first collective, on all ranks, with the values by rank."""
    said = on_ranks(differing, 2, tmp_path, settings, resumed)
    assert all("ValueError" in result and message in result for result, _ in said), said


def second_monitor(rank: int) -> list[Any]:
    """Two monitors one after the other, the second resumed from the first."""
    states, steps = [], []
    for _ in range(2):
        monitor = quiet()
        if states:
            monitor.load_state_dict(states[-1])
        for step in range(5):
            report = stepped(monitor, rank, step + 5 * len(states))
            steps += [] if report is None else [(report.check, report.step)]
        states.append(monitor.state_dict())
        monitor.close()
        steps.append(monitor._delivery.ranks.together)
    return steps


def test_monitors_meet_in_order(tmp_path: Path) -> None:
    """Each rank's second monitor meets the others' second; each rank resumes its own state."""
    expected = [(0, 2), (1, 4), True, (2, 6), (3, 8), (4, 10), True]
    assert [result for result, _ in on_ranks(second_monitor, 2, tmp_path)] == [expected] * 2


# --- faults ---


def failing_update(rank: int, everywhere: bool) -> Any:
    """Our own arithmetic raises on rank 1 in the third window."""
    monitor = quiet()
    update = monitor._window.latents.plain.update

    def fails(*given: Any, **named: Any) -> None:
        if (rank == 1 or everywhere) and monitor._step in (5, 6):
            raise RuntimeError("ours")
        update(*given, **named)

    monitor._window.latents.plain.update = fails
    samples = []
    for step in range(10):
        if (report := stepped(monitor, rank, step)) is not None:
            samples.append(report.latents["z"].measures["samples"])
    monitor.close()
    return samples


def test_a_fault_on_one_rank_is_told_and_left_out(tmp_path: Path) -> None:
    """The others do not wait for it: its share of that window is missing, and nothing else."""
    (first, told), (second, own) = on_ranks(failing_update, 2, tmp_path, False)
    assert first == second == [66.0, 66.0, 32.0, 66.0, 66.0]
    assert "the share of 1 rank" in told[0]
    assert "watching failed on rank 1" in own[0]


def vanishing(rank: int) -> Any:
    """Rank 1 dies; rank 0 is in the check's collective, then in its own teardown."""
    monitor = quiet()
    for step in range(3):
        stepped(monitor, rank, step)
    if rank == 1:
        os._exit(9)
    counted, start = Collectives(), time.monotonic()
    with monitor:
        stepped(monitor, rank, 3)
        stepped(monitor, rank, 4)
        stepped(monitor, rank, 5)
    return counted.started, time.monotonic() - start


def test_a_rank_that_dies_holds_nothing_up(tmp_path: Path) -> None:
    """The reduce fails as a training's own would, it is told once, and closing waits for nobody."""
    (result, told), gone = on_ranks(vanishing, 2, tmp_path)
    assert gone is None
    started, seconds = result
    assert started == ["all_reduce"]
    assert seconds < 20  # a collective would wait for half an hour
    assert len(told) == 1
    assert "another rank is gone" in told[0]


def raising(rank: int) -> Any:
    """The user's own code raises on rank 1 in the midst of a window."""
    counted, start = Collectives(), time.monotonic()
    before = 0
    try:
        with quiet() as monitor:
            for step in range(3):
                stepped(monitor, rank, step)
            before = len(counted.started)
            if rank == 1:
                raise KeyError("theirs")
    except KeyError:
        pass
    return len(counted.started) - before, time.monotonic() - start


def test_an_exception_on_one_rank_starts_no_collective(tmp_path: Path) -> None:
    """Both close at once: what is left over is not checked."""
    for (started, seconds), _ in on_ranks(raising, 2, tmp_path):
        assert started == 0
        assert seconds < 20  # a collective would wait for half an hour


def uneven(rank: int, across: bool) -> Any:
    """Rank 0 takes fifteen steps, rank 1 twenty; they share no gradient."""
    monitor = quiet(check_frequency=5, across_ranks=across)
    reports = [stepped(monitor, rank, step) for step in range(20 if rank else 15)]
    monitor.close()
    return sum(report is not None for report in reports)


def test_uneven_ranks_may_watch_each_alone(tmp_path: Path) -> None:
    """With across_ranks=False there is no collective; nobody waits and all is checked."""
    assert [result for result, _ in on_ranks(uneven, 2, tmp_path, False)] == [3, 4]


def test_uneven_ranks_together_end(tmp_path: Path) -> None:
    """The longer rank's next reduce finds the other gone; its training goes on unwatched."""
    said = on_ranks(uneven, 2, tmp_path, True)
    assert [result for result, _ in said] == [3, 3]
    assert "another rank is gone" in said[1][1][0]


class Noted(CheckResponse):
    """Counts the checks it is called at."""

    needs_all_ranks = True

    def __init__(self) -> None:
        self.checks = 0

    def on_report(self, report: Report) -> None:
        """Count."""
        self.checks += 1

    def __call__(self, alert: Any) -> None:
        """Nothing."""


def disagreeing(rank: int) -> Any:
    """Rank 1's rules are changed behind our back after the third check."""
    noted = Noted()
    monitor = quiet(responses=[noted])
    for step in range(20):
        if rank == 1 and step == 6:
            monitor._delivery.judge.rules = Rules(kl_threshold=1e6)
        stepped(monitor, rank, step)
    monitor.close()
    return noted.checks


def test_ranks_that_disagree_do_nothing(tmp_path: Path) -> None:
    """Found at the next check by both, told, and from then on no response is called."""
    said = on_ranks(disagreeing, 2, tmp_path)
    assert [result for result, _ in said] == [4, 4]
    assert all("ranks disagree" in told[-1] for _, told in said)


def different_units(rank: int) -> Any:
    """Latents of one name with three units here and four there."""
    monitor = quiet()
    for step in range(4):
        monitor.observe("z", *gaussian((20, 3 + rank), step))
        report = monitor.step()
    return report.latents["z"].measures["samples"], len(report.latents["z"].per_unit["kl"])


def test_different_units_are_told(tmp_path: Path) -> None:
    """The first rank's count, and no collective of another length is started."""
    for result, told in on_ranks(different_units, 2, tmp_path):
        assert result == (40.0, 3)
        assert "as many units on all ranks, got 3 and 4" in told[0]


def writer_fails(rank: int, folder: Path) -> int:
    """The ledger's folder is a file."""
    folder.touch()
    monitor = quiet(writers=[LedgerWriter(folder / "below")], verbose=False)
    return sum(stepped(monitor, rank, step) is not None for step in range(6))


def test_a_writer_that_fails_on_rank_zero(tmp_path: Path) -> None:
    """Rank zero tells it; all ranks go on."""
    (first, told), (second, nothing) = on_ranks(writer_fails, 2, tmp_path, tmp_path / "file")
    assert (first, second) == (3, 3)
    assert "LedgerWriter failed" in told[0]
    assert nothing == []


def chosen(rank: int) -> Any:
    """Ranks choose how often to observe at their own speed."""
    monitor = quiet(check_frequency=10, observe_every=2 + 2 * rank)
    for step in range(30):
        report = stepped(monitor, rank, step) or monitor.report
    return monitor._window.budget.chosen, report.latents["z"].measures["samples"]


def test_ranks_observe_the_same_steps(tmp_path: Path) -> None:
    """After the first check all observe every third step, the mean of what they would like."""
    said = on_ranks(chosen, 2, tmp_path)
    assert [result for result, _ in said] == [(3, 4.0 * 33)] * 2
