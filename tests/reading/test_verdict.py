"""The verdict: one word and one exit code from the newest check."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from collapse_logging import Indicator, Level, Report
from collapse_logging.reading import Recording, judge, worst
from collapse_logging.report import LatentReport

EXPLOSION = Indicator("explosion", math.nan, 0.0)
SMALL = Indicator("information", 0.1, 0.5)


def recording(
    *levels: Level,
    samples: float = 64.0,
    healthy: int | None = 5,
    indicators: tuple[Indicator, ...] = (),
) -> Recording:
    """A run whose newest check found latents z0, z1, ... at these levels."""
    latents = {
        f"z{i}": LatentReport(level, {"samples": samples}, {}, indicators)
        for i, level in enumerate(levels)
    }
    level = max(levels, default=Level.OK)
    report = Report(10, 1, level, latents, last_healthy_step=healthy)
    return Recording(Path("run"), "ledger", report=report)


OK, YELLOW, ORANGE, RED = Level


@pytest.mark.parametrize(
    ("run", "word", "latents", "why"),
    [
        (recording(OK), "healthy", ("z0",), ""),
        (recording(OK, YELLOW), "at risk", ("z1",), ""),
        (recording(ORANGE, YELLOW), "at risk", ("z0",), ""),
        (recording(RED, OK, RED), "collapsed", ("z0", "z2"), ""),
        (recording(RED, healthy=None), "collapsed", ("z0",), ""),
        (recording(ORANGE, healthy=None), "at risk", ("z0",), ""),
        (recording(OK, healthy=None), "cannot tell", (), "too early"),
        (recording(OK, samples=0.0), "cannot tell", (), "not observed"),
        (recording(), "cannot tell", (), "not observed"),
        (recording(OK, indicators=(EXPLOSION,)), "cannot tell", ("z0",), "diverging"),
        (recording(RED, indicators=(EXPLOSION,)), "collapsed", ("z0",), ""),
        (recording(YELLOW, indicators=(SMALL,)), "at risk", ("z0",), ""),
        (Recording(Path("run"), "ledger"), "cannot tell", (), "no report"),
        (Recording(Path("run"), "", problem="gone"), "cannot tell", (), "gone"),
    ],
)
def test_a_verdict_is_one_word(
    run: Recording, word: str, latents: tuple[str, ...], why: str
) -> None:
    """Red is a collapse whatever else; OK is healthy only if some check was."""
    verdict = judge(run)
    assert (verdict.word, verdict.latents, verdict.why) == (word, latents, why)


@pytest.mark.parametrize(
    ("level", "code"),
    [(OK, (0, 0, 0)), (YELLOW, (1, 0, 0)), (ORANGE, (1, 1, 0)), (RED, (1, 1, 1))],
)
def test_the_exit_code_depends_on_where_one_fails(level: Level, code: tuple[int, ...]) -> None:
    """``fail_on`` yellow, orange, red."""
    verdict = judge(recording(level))
    assert tuple(verdict.exit_code(fail_on) for fail_on in (YELLOW, ORANGE, RED)) == code
    assert judge(recording(samples=0.0)).exit_code(YELLOW) == 2


def test_verdicts_sort_the_worst_first() -> None:
    """Collapsed, orange, yellow, cannot tell, healthy."""
    runs = [recording(OK), recording(), recording(YELLOW), recording(ORANGE), recording(RED)]
    found = sorted((judge(run) for run in runs), key=lambda verdict: verdict.severity)
    assert [v.word for v in found] == ["collapsed", "at risk", "at risk", "cannot tell", "healthy"]
    assert [v.level for v in found[:3]] == [RED, ORANGE, YELLOW]


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((0, 2), 2), ((2, 1, 0), 1), ((0, 1), 1), ((), 2)]
)
def test_of_several_runs_a_failure_counts_most(codes: tuple[int, ...], code: int) -> None:
    """A collapse is known whatever else is not; nothing at all cannot be told."""
    assert worst(codes) == code
