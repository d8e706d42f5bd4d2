"""The level machine over recorded and synthetic series of checks."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_logging.forecast import slope
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


def standings(informations, growths=None, rules=None, start=None, betas=math.nan, gaps=None):
    """The standing after each check of a series; one growth for all, one a check, or none; the
    same of the KL's weight, and of the decoder's gap with its error.
    """
    rules, standing = rules or Rules(), start or Standing()
    informations = list(informations)
    series = [informations]
    for values in (growths, betas, gaps):
        series.append(values if isinstance(values, list) else [values] * len(informations))
    found = []
    for information, growth, beta, gap in zip(*series, strict=True):
        values, vectors = check(information, growth)
        if gap is not None:
            values |= {"decoder_gap": gap[0], "decoder_gap_error": gap[1]}
        indicators = rules.indicators(values, vectors, DIMENSIONS)
        step = 50 * (standing.checks + 1)
        standing = standing.after(rules, values, indicators, DIMENSIONS, step, beta)
        found.append(standing)
    return found


def levels(*arguments, **named):
    """The level after each check of a series."""
    return [standing.level for standing in standings(*arguments, **named)]


def falling(count, start=0.3, factor=0.1):
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


@pytest.mark.parametrize("wavers", [0.0, 0.3])
@pytest.mark.parametrize("confirm", [2, 3, 7])
def test_a_latent_that_is_coming_alive_is_not_accused_for_a_plateau(confirm, wavers):
    """Growth alone says that it lives, also where the information stands still or wavers; but
    what is dead for three confirmations and does not rise is dead, whatever growth promises.
    """
    series = [0.006 * (1.0 + wavers * (-1) ** i) for i in range(10 * confirm)]
    found = levels(series, 5.0, rules=Rules(confirm_checks=confirm))
    assert set(found[: 3 * confirm]) == {OK}
    assert set(found[3 * confirm + 2 :]) == {RED}


def test_a_plateau_above_a_fifth_of_the_limit_is_never_accused():
    """What growth says lives and is not dead gets all the time that it needs."""
    assert set(levels([0.21 * LIMIT] * 60, 5.0)) == {OK}


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
    factor=st.floats(1.0102, 1.5),
)
def test_rising_information_is_never_red(growths, start, factor):
    """Whatever growth says, a latent that carries more at every check is not confirmed dead; it
    must rise by more than a hundredth a check only where it was dead for long.
    """
    assert RED not in levels(falling(15, start, factor), growths)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    growths=st.lists(st.floats(-100.0, 100.0), min_size=9, max_size=9),
    start=st.floats(1e-4, 1e-2),
    factor=st.floats(1.0051, 1.5),
)
def test_slowly_rising_information_is_not_red_for_nine_checks(growths, start, factor):
    """Half a hundredth a check is enough in the first three confirmations."""
    assert RED not in levels(falling(9, start, factor), growths)


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


def test_a_falling_collapse_is_red_at_its_third_check():
    """Falling information with growth -10 needs no more than the confirmation's three checks."""
    assert levels(falling(8), -10.0) == [OK, OK, RED, RED, RED, RED, RED, RED]


def test_a_latent_that_dies_is_watched_before_it_is_red():
    """One check of small information is yellow, whatever growth says."""
    found = levels([6.0, 6.0, 6.0, 0.45, 0.24, 0.12], -10.0)
    assert found == [OK, OK, OK, YELLOW, YELLOW, RED]


@pytest.mark.parametrize("information", [0.0, 1e-6, 0.01, 0.1])
def test_a_collapse_that_is_complete_takes_twice_as_long(information):
    """Information that no longer moves, 0 even, does not rise: red at check 6."""
    assert levels([information] * 7, -10.0) == [OK, OK, YELLOW, YELLOW, YELLOW, RED, RED]


def test_strong_signs_count_thrice():
    """Deep, falling, growth below minus five: the first such check confirms, no weaker one."""
    healthy = [6.0] * 5
    assert levels([*healthy, 0.0095], -5.1)[-1] is RED
    assert levels([*healthy, 0.0105], -5.1)[-1] is YELLOW
    assert levels([*healthy, 0.0095], -4.9)[-1] is YELLOW


@pytest.mark.parametrize("growth", [None, 0.0, -10.0])
def test_half_of_the_limit_is_never_red(growth):
    """What lies between a half of the limit and the limit is little, but used."""
    assert set(levels([0.51 * LIMIT] * 40, growth)) == {OK, YELLOW}


@pytest.mark.parametrize(
    "series",
    [falling(7, 0.09, 0.9), [0.05] * 7, [0.0] * 7, [1e-5] * 7],
    ids=["falling", "constant", "zero", "tiny"],
)
def test_without_growth_red_takes_six_dead_checks(series):
    """Information below a fifth of its limit in six checks is red, not before."""
    found = levels(series)
    assert found.index(RED) == 5
    assert found[2] >= YELLOW


@pytest.mark.parametrize(("share", "level"), [(0.19, RED), (0.21, ORANGE)])
def test_dead_is_below_a_fifth_of_the_limit(share, level):
    """Without growth, more than that is small, and stays unconfirmed."""
    assert levels([share * LIMIT] * 20)[-1] is level


def test_small_information_alone_is_orange_after_three_confirmations():
    """The certificate alone, below half of its limit and not rising, is a risk at check 9."""
    values, vectors = check(0.2, 0.0)
    raised = Rules().indicators(values, vectors, DIMENSIONS)
    assert [indicator.name for indicator in raised] == ["information"]
    assert levels([0.2] * 20, 0.0) == [OK] * 2 + [YELLOW] * 6 + [ORANGE] * 12


def test_a_dead_latent_is_found_through_the_noise():
    """Information that wavers about 0.02, its bias, without growth is red within 30 checks."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert RED in levels(0.02 * (1.0 + 0.1 * rng.standard_normal(30)))


def test_a_collapse_after_a_healthy_half_is_found():
    """Twenty good checks buy no time: red three checks after the information became small."""
    found = levels([6.0] * 20 + falling(5, 0.4), -20.0)
    assert found[:20] == [OK] * 20
    assert found[20:] == [YELLOW, YELLOW, RED, RED, RED]


def test_a_late_slow_collapse_is_found():
    """As measured in a text VAE: from 5 to 0.05 nats over 16 checks with growth of -1 to -3."""
    series = [*np.geomspace(5.0, 0.05, 16), *np.geomspace(0.045, 0.01, 6)]
    growths = [-1.0, -3.0, -2.2, -2.6, -1.5, -2.9] * 3 + [-2.5, -1.8, -2.9, -2.4]
    found = levels(series, growths)
    first_small = next(i for i, information in enumerate(series) if information < LIMIT)
    assert RED not in found[:first_small]
    assert found[-1] is RED


@pytest.mark.parametrize("checks", [3, 4, 5])
def test_the_number_of_confirmations_can_be_chosen(checks):
    """Red comes at that many checks, or twice as many without growth."""
    rules = Rules(confirm_checks=checks)
    fallen = [6.0] * 4 + falling(8, 0.2, 0.9)
    assert levels(fallen, -10.0, rules=rules).index(RED) == 4 + checks - 1
    assert levels(falling(12, 0.09, 0.9), rules=rules).index(RED) == 2 * checks - 1


@pytest.mark.parametrize("skipped", [0, 1, 2, 4])
def test_the_first_checks_raise_nothing(skipped):
    """In the checks that are skipped nothing is said, but they count towards a confirmation."""
    whole = [YELLOW, YELLOW, RED, RED, RED, RED]
    found = levels(falling(6), -10.0, rules=Rules(skip_checks=skipped))
    assert found == [OK] * skipped + whole[skipped:]


def test_one_indicator_is_yellow_however_long():
    """A single indicator, information being ample, is watched and no more."""
    standing = Standing()
    values, _ = check(6.0, 0.0)
    near_prior = (Indicator("variance", 0.95, 0.1),)
    found = []
    for _ in range(20):
        standing = standing.after(Rules(), values, near_prior, DIMENSIONS)
        found.append(standing.level)
    assert found == [OK] * 2 + [YELLOW] * 18


def test_something_is_wrong_since_the_first_of_the_checks_in_a_row():
    """``since`` is the step at which something was first raised, gone with the last sign."""
    found = standings([6.0, 0.4, 6.0, 0.4, 0.3, 6.0], 0.0)
    assert [standing.since for standing in found] == [None, 100, None, 200, 200, None]


# --- beta, and the decoder ---


def test_a_beta_that_was_just_lowered_is_given_time():
    """Red is held at orange while a higher beta is among the last checks, and comes after it."""
    betas = [4.0, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = levels(falling(7), -10.0, betas=betas)
    assert found == [OK, OK, ORANGE, ORANGE, ORANGE, RED, RED]


@pytest.mark.parametrize("betas", [1.0, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0], [math.nan] * 5 + [3.0]])
def test_a_beta_that_was_not_lowered_buys_no_time(betas):
    """Constant, rising or told late, it holds nothing back."""
    assert levels(falling(6), -10.0, betas=betas).index(RED) == 2


def test_a_red_latent_stays_red_when_beta_is_lowered():
    """Only information leads back."""
    assert set(levels([0.01] * 4, -10.0, start=red(), betas=[4.0, 1.0, 1.0, 1.0])) == {RED}


@pytest.mark.parametrize(("gap", "level"), [((0.31, 0.1), ORANGE), ((0.29, 0.1), RED)])
def test_what_the_decoder_was_just_seen_to_use_is_not_red(gap, level):
    """A gap of more than three errors holds a small latent at orange."""
    assert levels(falling(4), -10.0, gaps=gap)[-1] is level


USED, UNUSED = (2.0, 0.1), (0.0, 0.1)


def test_three_probes_without_use_make_an_informing_latent_red():
    """Ample information that the decoder ignores in three probes in a row is a collapse too."""
    assert levels([6.0] * 6, 0.0, gaps=[None, None, *[UNUSED] * 4]) == [
        OK,
        OK,
        YELLOW,
        YELLOW,
        RED,
        RED,
    ]


@pytest.mark.parametrize("others", [USED, None], ids=["used", "not asked"])
def test_probes_without_use_must_come_in_a_row(others):
    """Two, then one that shows use or none at all, start the count again."""
    found = levels([6.0] * 30, 0.0, gaps=[UNUSED, UNUSED, others] * 10)
    assert RED not in found
    assert ORANGE not in found


def test_a_probe_that_shows_use_never_accuses():
    """Whatever the gap's size, if it is clear of its error."""
    for information, gap in ((6.0, 2.0), (6.0, 0.4), (40.0, 2.5), (1.0, 0.06)):
        assert set(levels([information] * 12, 0.0, gaps=(gap, 0.1 * gap))) == {OK}


def test_probes_are_weighed_together():
    """Gaps of two errors each are nothing alone, and clear of nothing when three agree."""
    assert RED in levels([1.0] * 9, 0.0, gaps=(0.15, 0.1))
    assert RED not in levels([1.0] * 9, 0.0, gaps=(0.20, 0.1))


def test_an_ignored_latent_stays_red_between_rare_probes():
    """Checks without a probe hold the verdict; one that shows use ends it."""
    gaps = [UNUSED] * 3 + [None] * 9 + [UNUSED] + [None] * 9 + [USED] + [None] * 3
    found = levels([6.0] * len(gaps), 0.0, gaps=gaps)
    assert set(found[2:-4]) == {RED}
    assert found[-4:] == [RED, RED, OK, OK]


def test_a_probe_is_wanted_before_red_is_confirmed():
    """Two shrinking checks, an orange level or a gap of nothing ask for one; red and OK do not."""
    assert [s.suspected for s in standings(falling(4), -10.0)] == [False, True, False, False]
    assert [s.suspected for s in standings([6.0] * 4, 0.0)] == [False] * 4
    assert standings([0.2] * 9, 0.0)[-1].suspected
    assert [s.suspected for s in standings([6.0] * 3, 0.0, gaps=UNUSED)] == [True, True, False]
    assert not standings([6.0], 0.0, gaps=USED)[-1].suspected


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
    standing, found = Standing(checks=2), []
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
    found = standings(falling(4, factor=0.5), -10.0)
    assert slope(found[-1].history) == pytest.approx(-math.log(2.0))
    assert math.isnan(slope(found[0].history))


@pytest.mark.parametrize("betas", [math.nan, 2.0])
@pytest.mark.parametrize("count", [*range(8), 14])
def test_a_standing_survives_a_checkpoint(count, betas):
    """Through JSON and back it is the same, and the series goes on as if nothing had been."""
    informations, growths = [6.0] * 6 + falling(12, 0.09, 0.9), [0.0] * 6 + [-10.0] * 3 + [None] * 9
    gaps = [UNUSED] * 4 + [None] * 14
    whole = standings(informations, growths, betas=betas, gaps=gaps)
    saved = ([Standing()] + whole)[count]
    loaded = Standing.from_dict(json.loads(json.dumps(saved.to_dict())))
    assert repr(loaded) == repr(saved)  # a NaN is no NaN's equal
    assert isinstance(loaded.level, Level)
    rest = (part[count:] for part in (informations, growths))
    after = standings(*rest, start=loaded, betas=betas, gaps=gaps[count:])
    assert repr(after) == repr(whole[count:])


# --- lived or not ---


def test_what_never_lived_is_not_red_for_a_fall_alone():
    """A first fall to 0.04 nats under negative growth, as in slow starts of deep networks."""
    series = [0.27, 0.043, 0.035, 0.038, 0.038]
    assert RED not in levels(series, [-14.0, -7.0, -4.0, 2.0, 6.0])
    assert RED in levels([6.0] * 4 + series[1:4], -7.0)


def test_a_promise_of_growth_is_kept_for_a_while():
    """Growth of +6 among dead checks starts the silent count again; without it they are red."""
    series = [0.3] + [0.03] * 8
    assert RED in levels(series)
    assert RED not in levels(series, [0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0])


def test_a_plunge_from_where_it_lived_is_red_without_growth():
    """Three dead checks after a fall from six nats, where growth says nothing."""
    found = levels([6.0] * 4 + [0.09, 0.06, 0.04])
    assert found.index(RED) == 6
