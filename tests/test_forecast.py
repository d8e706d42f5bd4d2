"""The forecast of a falling information: its closed form, its interval, and when there is none."""

import math

import numpy as np
import pytest

from collapse_logging.forecast import forecast, slope

EVERY = 50
"""Training steps from one check to the next."""


def decay(count, start=5.0, rate=0.1, noise=0.0, rng=None, first=EVERY):
    """(step, ln information) of an exponential decay by ``rate`` a check."""
    steps = [first + EVERY * i for i in range(count)]
    errors = noise * rng.standard_normal(count) if rng else np.zeros(count)
    return [(step, math.log(start) - rate * i + float(errors[i])) for i, step in enumerate(steps)]


# --- closed form ---


@pytest.mark.parametrize("count", [4, 7, 10, 24])
@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("limit", [0.5, 0.8])
def test_an_exponential_decay_crosses_where_the_formula_says(count, rate, limit):
    """Without noise the step is exact and the interval has no width."""
    start = limit * math.exp(rate * (count + 2.0))  # crosses three checks after the last
    found = forecast(decay(count, start, rate), limit)
    assert (found.step, found.low, found.high) == (EVERY * (count + 3),) * 3
    assert found.limit == limit


def test_only_the_last_ten_checks_are_read():
    """What it did long ago does not bend the line."""
    early = [(step, 9.0) for step in range(0, EVERY * 10, EVERY)]
    late = decay(10, first=EVERY * 10)
    assert forecast(early + late, 0.5) == forecast(late, 0.5)


def test_checks_need_not_be_evenly_spaced():
    """The line is through steps, not through checks."""
    history = [(step, 2.0 - 0.001 * step) for step in (0, 10, 300, 310, 700, 1000)]
    found = forecast(history, math.exp(0.5))
    assert found.step == found.low == found.high == 1500


def test_the_interval_is_fiellers():
    """As solved in float64 from the confidence band of the line, by bisection."""
    rng = np.random.default_rng(3)
    history = decay(8, 5.0, 0.15, 0.05, rng)
    found = forecast(history, 0.5)
    steps, values = np.array(history).T
    x = steps - steps.mean()
    b = (x @ values) / (x @ x)
    residual = values - values.mean() - b * x
    s, t = math.sqrt(residual @ residual / 6), 2.447  # six degrees of freedom

    def band(step, sign):
        u = step - steps.mean()
        error = s * math.sqrt(1 / 8 + u * u / (x @ x))
        return values.mean() + b * u + sign * t * error - math.log(0.5)

    def root(sign, low=steps[-1], high=1e5):
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if band(middle, sign) > 0 else (low, middle)
        return low

    assert found.low == pytest.approx(root(-1.0), abs=1.0)
    assert found.high == pytest.approx(root(1.0), abs=1.0)
    assert found.low < found.step < found.high


# --- the interval over simulated noise ---


@pytest.mark.parametrize("count", [5, 10])
def test_the_interval_covers_the_crossing_of_the_line(count):
    """Of forecasts in noise about 95 % hold the true crossing between low and high."""
    rng = np.random.default_rng(0)
    held, made = 0, 0
    for _ in range(3000):
        history = decay(count, 5.0, 0.2, 0.05, rng)
        found = forecast(history, 0.5)
        if found is None:
            continue
        made += 1
        crossing = EVERY * (1.0 + math.log(10.0) / 0.2)
        high = math.inf if found.high is None else found.high
        held += found.low - 0.5 <= crossing <= high + 0.5
    assert made > 2700
    assert 0.93 < held / made < 0.975


# --- none ---


@pytest.mark.parametrize("count", range(4))
def test_fewer_than_four_checks_foretell_nothing(count):
    """A line through three points has no error to speak of."""
    assert forecast(decay(count), 0.5) is None


@pytest.mark.parametrize("rate", [-0.3, -0.01, 0.0])
def test_what_does_not_fall_is_not_foretold(rate):
    """Rising or level information crosses nothing."""
    assert forecast(decay(10, rate=rate), 0.5) is None


def test_a_fall_within_its_error_is_not_foretold():
    """In noise without a trend fewer than 5 % of falls are told, for the test has two sides."""
    rng = np.random.default_rng(1)
    told = [forecast(decay(10, 5.0, 0.0, 0.3, rng), 0.5) for _ in range(1000)]
    assert sum(found is not None for found in told) < 50


@pytest.mark.parametrize("last", [0.5, 0.4, 1e-12])
def test_what_is_below_already_is_not_foretold(last):
    """The limit itself is below."""
    history = decay(8, last * math.exp(0.7), 0.1)
    assert math.exp(history[-1][1]) == pytest.approx(last)
    assert forecast(history, 0.5000001) is None


def test_what_is_too_far_ahead_is_not_foretold():
    """Beyond ten times what was seen a straight line is a fancy."""
    assert forecast(decay(10, 5.0, 0.1), 5.0 * math.exp(-9.8)) is not None
    assert forecast(decay(10, 5.0, 0.1), 5.0 * math.exp(-10.0)) is None


def test_no_limit_is_never_crossed():
    """A limit of 0, that rules may have, is below everything."""
    assert forecast(decay(10), 0.0) is None


def test_a_late_bound_that_is_too_far_is_left_open():
    """Where the fall is barely clear, the latest step is not said."""
    rng = np.random.default_rng(0)
    found = [forecast(decay(5, 5.0, 0.2, 0.15, rng), 0.5) for _ in range(300)]
    told = [f for f in found if f is not None]
    assert any(f.high is None for f in told)
    assert all(f.low <= f.step and (f.high is None or f.step <= f.high) for f in told)


def test_nothing_is_foretold_of_the_past():
    """Where the line is below already and the last check is not, the answer is now."""
    history = [(EVERY * i, 3.0 - i + 0.01 * (-1) ** i) for i in range(5)]
    history[-1] = (history[-1][0], -0.68)
    found = forecast(history, 0.5)
    assert found.step >= found.low >= history[-1][0]


# --- the slope ---


def test_the_slope_is_least_squares_a_check():
    """As numpy fits it, whatever the steps are."""
    rng = np.random.default_rng(0)
    history = [(7 * i * i, float(v)) for i, v in enumerate(rng.standard_normal(9))]
    expected = np.polyfit(np.arange(9), [v for _, v in history], 1)[0]
    assert slope(history) == pytest.approx(expected)


def test_one_check_has_no_slope():
    """NaN compares as neither rising nor falling."""
    assert math.isnan(slope([(50, 1.0)]))
    assert math.isnan(slope([]))
