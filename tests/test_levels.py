"""The level machine over recorded and synthetic series of checks."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_logging.levels import Standing
from collapse_logging.report import Indicator, Level
from collapse_logging.rules import Rules

OK, YELLOW, ORANGE, RED = Level
DIMENSIONS = 10
LIMIT = 0.5
"""Small information for ten dimensions under the default rules, nats."""


def check(information, growth=None):
    """Measures and vectors of a latent that carries ``information`` nats; growth if there is."""
    values = {
        "information": information,
        "kl": 1.1 * information,
        "posterior_variance": math.exp(-information),
        "active_fraction": min(1.0, information),
    }
    if growth is not None:
        values["growth"] = growth
    vectors = {
        "kl": np.full(DIMENSIONS, values["kl"] / DIMENSIONS),
        "posterior_variance": np.full(DIMENSIONS, values["posterior_variance"]),
    }
    return values, vectors


def standings(informations, growths=None, rules=None, start=None):
    """The standing after each check of a series; one growth for all, one a check, or none."""
    rules, standing = rules or Rules(), start or Standing()
    informations = list(informations)
    if growths is None or isinstance(growths, (int, float)):
        growths = [growths] * len(informations)
    found = []
    for information, growth in zip(informations, growths, strict=True):
        values, vectors = check(information, growth)
        indicators = rules.indicators(values, vectors, DIMENSIONS)
        standing = standing.after(rules, values, indicators, DIMENSIONS)
        found.append(standing)
    return found


def levels(*arguments, **named):
    """The level after each check of a series."""
    return [standing.level for standing in standings(*arguments, **named)]


def falling(count, start=0.3, factor=0.5):
    """A decay by ``factor`` a check."""
    return [start * factor**i for i in range(count)]


def red():
    """A latent that has just been confirmed as collapsed."""
    standing = standings(falling(4), -10.0)[-1]
    assert standing.level is RED
    return standing


# --- what must not fire ---


@pytest.mark.parametrize("growth", [2.5, 4.0, 60.0])
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_a_slow_start_is_never_accused(growth, rate):
    """Information of 0.006 nats that grows, with growth above its limit, is never above OK."""
    series = [0.006 * math.exp(rate * i) for i in range(40)]
    assert set(levels(series, growth)) == {OK}


def test_a_latent_that_is_coming_alive_is_not_accused_for_a_plateau():
    """Growth alone says that it lives, also where the information stands still or wavers."""
    wavering = [0.006 * (1.0 + 0.3 * (-1) ** i) for i in range(20)]
    assert set(levels(wavering, 5.0)) == {OK}
    assert set(levels([0.006] * 20, 5.0)) == {OK}


def test_a_slow_start_without_growth_is_not_accused_while_it_rises():
    """Where gradients are hidden, rising information is witness enough."""
    assert set(levels([0.006 * math.exp(0.3 * i) for i in range(20)])) == {OK}


def test_a_borderline_slow_start_is_not_red():
    """As measured: growth -9, -5, -3, -4, 0, +3 while information crept from 0.006 to 0.02."""
    creeping = np.geomspace(0.006, 0.02, 6)
    assert RED not in levels(creeping, [-9.0, -5.0, -3.0, -4.0, 0.0, 3.0])


def test_a_batch_of_one_that_hovers_while_it_rises_is_not_red():
    """As measured: growth within +-2 while the information grew."""
    hovering = [1.5, -1.8, -0.5, 1.9, -1.2, 0.3, -1.9, 0.8, -1.0, 1.0]
    assert max(levels(np.geomspace(0.006, 1.2, 10), hovering)) <= YELLOW


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    growths=st.lists(st.floats(-100.0, 100.0), min_size=15, max_size=15),
    start=st.floats(1e-4, 1e-2),
    factor=st.floats(1.01, 1.5),
)
def test_rising_information_is_never_red(growths, start, factor):
    """Whatever growth says, a latent that carries more at every check is not confirmed dead."""
    assert RED not in levels(falling(15, start, factor), growths)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(series=st.lists(st.floats(LIMIT, 50.0), min_size=12, max_size=12))
def test_enough_information_is_never_orange(series):
    """Growth of -50 means nothing once the latent carries what it should."""
    assert max(levels(series, -50.0)) <= YELLOW


def test_growth_without_gradient_steps_of_either_sign_does_not_confirm():
    """Two shrinking checks, then one that is not, start the count again."""
    series = falling(12, 0.45, 0.97)
    growths = [-10.0, -10.0, 0.0] * 4
    assert RED not in levels(series, growths)


def test_a_warm_up_of_beta_is_not_a_collapse():
    """Information that falls by design from 40 to 8 nats raises nothing."""
    assert set(levels(np.geomspace(40.0, 8.0, 30), -20.0)) == {OK}


def test_an_explosion_leaves_the_level_alone():
    """It is an alarm of its own."""
    values, _ = check(6.0, 0.0)
    exploding = (Indicator("explosion", 500.0, 100.0),)
    standing = Standing()
    for _ in range(10):
        standing = standing.after(Rules(), values, exploding, DIMENSIONS)
    assert standing.level is OK


@pytest.mark.parametrize("start", ["fresh", "red"])
def test_an_unreadable_check_changes_nothing_but_the_count(start):
    """Without a finite sample the latent stands where it stood."""
    standing = Standing() if start == "fresh" else red()
    after = standing.after(Rules(), {"samples": 0.0, "nonfinite": 9.0}, (), DIMENSIONS)
    assert after == dataclasses.replace(standing, checks=standing.checks + 1)


# --- what must fire, and when ---


def test_a_collapse_goes_up_one_level_a_check():
    """Falling information with growth -10: skipped, then yellow, orange, red at check 4."""
    assert levels(falling(8), -10.0) == [OK, YELLOW, ORANGE, RED, RED, RED, RED, RED]


@pytest.mark.parametrize("information", [0.0, 1e-6, 0.01, 0.1])
def test_a_collapse_that_is_complete_is_confirmed_as_fast(information):
    """Information that no longer moves, 0 even, does not rise: red at check 4 all the same."""
    assert levels([information] * 5, -10.0) == [OK, YELLOW, ORANGE, RED, RED]


@pytest.mark.parametrize(
    "series",
    [falling(7, 0.09, 0.9), [0.05] * 7, [0.0] * 7, [1e-5] * 7],
    ids=["falling", "constant", "zero", "tiny"],
)
def test_without_growth_red_takes_six_dead_checks(series):
    """Information below a fifth of its limit in six checks after the first is red, not before."""
    found = levels(series)
    assert found.index(RED) == 6
    assert found[1] >= YELLOW


@pytest.mark.parametrize(("share", "level"), [(0.19, RED), (0.21, ORANGE)])
def test_dead_is_below_a_fifth_of_the_limit(share, level):
    """Without growth, more than that is small, and stays unconfirmed."""
    assert levels([share * LIMIT] * 20)[-1] is level


def test_small_information_alone_is_orange_at_the_third_check():
    """One indicator is enough when it is the certificate, three checks in a row."""
    values, vectors = check(0.45, 0.0)
    raised = Rules().indicators(values, vectors, DIMENSIONS)
    assert [indicator.name for indicator in raised] == ["information"]
    assert levels([0.45] * 6, 0.0) == [OK, YELLOW, YELLOW, ORANGE, ORANGE, ORANGE]


def test_a_dead_latent_is_found_through_the_noise():
    """Information that wavers about 0.02, its bias, without growth is red within 12 checks."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert RED in levels(0.02 * (1.0 + 0.1 * rng.standard_normal(12)))


def test_a_collapse_after_a_healthy_half_is_found():
    """Twenty good checks buy no time: red three checks after the information became small."""
    found = levels([6.0] * 20 + falling(5, 0.4), -20.0)
    assert found[:20] == [OK] * 20
    assert found[20:] == [YELLOW, ORANGE, RED, RED, RED]


def test_a_late_slow_collapse_is_found():
    """As measured in a text VAE: from 5 to 0.05 nats over 16 checks with growth of -1 to -3."""
    series = [*np.geomspace(5.0, 0.05, 16), *np.geomspace(0.045, 0.01, 6)]
    growths = [-1.0, -3.0, -2.2, -2.6, -1.5, -2.9] * 3 + [-2.5, -1.8, -2.9, -2.4]
    found = levels(series, growths)
    first_small = next(i for i, information in enumerate(series) if information < LIMIT)
    assert RED not in found[:first_small]
    assert found[-1] is RED


@pytest.mark.parametrize("checks", [1, 2, 5])
def test_the_number_of_confirmations_can_be_chosen(checks):
    """Red comes at that many checks after those skipped, or twice as many without growth."""
    rules = Rules(confirm_checks=checks)
    assert levels(falling(10), -10.0, rules=rules).index(RED) == checks
    assert levels(falling(12, 0.09, 0.9), rules=rules).index(RED) == 2 * checks


@pytest.mark.parametrize("skipped", [0, 1, 4])
def test_the_first_checks_raise_nothing(skipped):
    """Nothing is counted in the checks that are skipped."""
    found = levels(falling(10), -10.0, rules=Rules(skip_checks=skipped))
    assert found[: skipped + 3] == [OK] * skipped + [YELLOW, ORANGE, RED]


def test_one_indicator_is_yellow_however_long():
    """A single indicator, information being ample, is watched and no more."""
    standing = Standing()
    values, _ = check(6.0, 0.0)
    near_prior = (Indicator("variance", 0.95, 0.1),)
    found = []
    for _ in range(10):
        standing = standing.after(Rules(), values, near_prior, DIMENSIONS)
        found.append(standing.level)
    assert found == [OK] + [YELLOW] * 9


# --- recovery ---


@pytest.mark.parametrize("information", [0.6, 0.99 * 2 * LIMIT])
def test_red_is_not_left_below_twice_the_limit(information):
    """Between once and twice the limit a red latent stays red, coming alive or not."""
    assert set(levels([information] * 10, 8.0, start=red())) == {RED}


@pytest.mark.parametrize("needed", [1, 3, 5])
def test_red_is_left_after_enough_good_checks(needed):
    """Beyond twice the limit, for ``recovery_checks`` checks and not one less."""
    found = levels([1.5] * 8, 8.0, rules=Rules(recovery_checks=needed), start=red())
    assert found == [RED] * (needed - 1) + [OK] * (9 - needed)


def test_a_relapse_starts_the_recovery_again():
    """Good checks must come in a row."""
    found = levels([1.5, 1.5, 0.9, 1.5, 1.5, 1.5], 8.0, start=red())
    assert found == [RED] * 5 + [OK]


def test_a_warning_is_withdrawn_after_a_run_of_good_checks():
    """Yellow too: an indicator that comes back starts the count again."""
    values, _ = check(6.0, 0.0)
    near_prior = (Indicator("variance", 0.95, 0.1),)
    standing, found = Standing(checks=1), []
    for raised in (near_prior, (), (), near_prior, (), (), ()):
        standing = standing.after(Rules(), values, raised, DIMENSIONS)
        found.append(standing.level)
    assert found == [YELLOW] * 6 + [OK]


@pytest.mark.parametrize("period", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("growth", [None, 0.0, -10.0])
def test_oscillation_around_the_limit_does_not_flap(period, growth):
    """Information that goes from 0.9 to 1.1 of its limit and back is one alert, not one a turn:
    a level is left only beyond twice the limit.
    """
    turns = [0.9 * LIMIT] * period + [1.1 * LIMIT] * period
    found = levels(turns * 6, growth)
    assert found == sorted(found)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    series=st.lists(st.floats(0.0, 3.0), min_size=30, max_size=30),
    growths=st.lists(st.floats(-20.0, 20.0), min_size=30, max_size=30),
    needed=st.integers(2, 4),
)
def test_a_level_falls_only_after_a_run_of_better_checks(series, growths, needed):
    """Two falls, or a rise and a fall, are never closer than ``recovery_checks``; and red is left
    at a check with more than twice the limit.
    """
    found = [OK, *levels(series, growths, rules=Rules(recovery_checks=needed))]
    last_change = -needed
    for i, (before, after) in enumerate(zip(found, found[1:], strict=False)):
        if after < before:
            assert i - last_change >= needed
            assert before is not RED or min(series[i - needed + 1 : i + 1]) > 2 * LIMIT
        if after != before:
            last_change = i


# --- the manual, and the value itself ---


@pytest.mark.parametrize(("raised", "level"), [(0, OK), (1, YELLOW), (2, ORANGE), (3, RED)])
def test_the_manual_counts_its_signals(raised, level):
    """Read literally, the level is the number of signals at this check, with no memory."""
    rules = Rules(literal=True)
    signals = (
        Indicator("kl", 0.0, 0.01),
        Indicator("variance", 0.0, 0.1),
        Indicator("active_units", 0.0, 0.1),
    )[:raised]
    values, _ = check(6.0, 0.0)
    for start in (Standing(), red()):
        assert start.after(rules, values, signals, DIMENSIONS).level is level


def test_a_standing_is_a_value():
    """The same check from the same standing gives the same standing, and changes neither."""
    start = red()
    before = dataclasses.asdict(start)
    values, _ = check(1.5, 8.0)
    once, again = (start.after(Rules(), values, (), DIMENSIONS) for _ in range(2))
    assert once == again
    assert once != start
    assert dataclasses.asdict(start) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        start.level = OK


def test_the_slope_is_that_of_ln_information():
    """Halving at every check is a slope of -ln 2; one check has none."""
    found = standings(falling(4), -10.0)
    assert found[-1].slope == pytest.approx(-math.log(2.0))
    assert math.isnan(found[0].slope)


@pytest.mark.parametrize("count", range(8))
def test_a_standing_survives_a_checkpoint(count):
    """Through JSON and back it is the same, and the series goes on as if nothing had been."""
    series, growths = falling(12, 0.09, 0.9), [-10.0] * 3 + [None] * 9
    whole = standings(series, growths)
    saved = ([Standing()] + whole)[count]
    loaded = Standing.from_dict(json.loads(json.dumps(saved.to_dict(), allow_nan=False)))
    assert loaded == saved
    assert isinstance(loaded.level, Level)
    assert standings(series[count:], growths[count:], start=loaded) == whole[count:]
