"""What is thinned before it is drawn, and what is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collapse_logging.commands.curves import stretches, thin


def test_no_spike_is_lost() -> None:
    """Of 100,000 points at most 2,002 are left, in order, with both ends and every spike."""
    steps = np.arange(100_000.0)
    values = np.sin(steps / 9000)
    spikes = [17, 40_001, 99_998]
    values[spikes] = [50.0, -50.0, 70.0]
    x, y = thin(steps, values)
    assert len(x) <= 2002
    assert (np.diff(x) > 0).all()
    assert (x[0], x[-1]) == (0, 99_999)
    assert set(spikes) <= set(x.astype(int))
    np.testing.assert_array_equal(y, values[x.astype(int)])


def test_what_is_not_finite_is_left_out() -> None:
    """A curve goes on over a gap; one without a value is empty."""
    x, y = thin(np.arange(4.0), np.array([1.0, np.nan, np.inf, 2.0]))
    assert (x.tolist(), y.tolist()) == ([0, 3], [1, 2])
    assert thin(np.arange(3.0), np.full(3, np.nan))[0].size == 0


@given(st.lists(st.sampled_from([0, 1, 2, 3, None]), max_size=60))
def test_stretches_hold_every_change_of_level(levels: list[int | None]) -> None:
    """Laid out again, the stretches give each check its level back."""
    steps = 5.0 * np.arange(len(levels)) + 5
    column = np.array([np.nan if level is None else level for level in levels], float)
    found = list(stretches(steps, column))
    again: list[int | None] = [None] * len(levels)
    for start, end, level in found:
        for i, step in enumerate(steps):
            if start <= step < end or (step == end == steps[-1] and again[i] is None):
                again[i] = level
    if levels:  # the newest check may be a stretch of no length
        last = found[-1] if found and found[-1][0] == steps[-1] else None
        again[-1] = last[2] if last else again[-1]
        assert again[:-1] == levels[:-1]
    changes = sum(a != b for a, b in zip(levels[:-1], levels[1:], strict=True))
    assert len(found) <= changes + 1
