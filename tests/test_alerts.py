"""Alerts: since when, which units, what comes, what beta was, and in which language."""

import math

import numpy as np
import pytest
import torch

from collapse_logging import Level
from collapse_logging.alerts import Scene, explosion_alert, level_alert, silent_units
from collapse_logging.levels import Standing
from collapse_logging.limits import DEAD, Limits
from collapse_logging.report import Indicator, LatentReport

from .parts import recorded

OK, YELLOW, ORANGE, RED = Level
SMALL = (Indicator("information", 0.02, 0.5),)
FALLING = tuple((50 * i, math.log(4.0) - 0.2 * i) for i in range(1, 11))
"""Steps and ln information of a decay by 0.2 a check, at 0.541 nats now."""


def latent(level=RED, indicators=SMALL, signal=(2.0, 0.0, 0.01), **measures):
    """A latent of three units, one of which carries something."""
    variance = np.array([0.2, 1.0, 0.98])
    per_unit = {"mean_variance": np.array(signal), "posterior_variance": variance}
    return LatentReport(level, {"information": 0.02, **measures}, per_unit, tuple(indicators))


def scene(**changes):
    """A run whose beta is not told."""
    values = {
        "language": "en",
        "step": 500,
        "beta": math.nan,
        "healthy_step": 300,
        "healthy_beta": math.nan,
    }
    return Scene(**values | changes)


def alert(report=None, previous=YELLOW, standing=None, limit=0.5, **changes):
    """What is told of a latent's change of level."""
    return level_alert(
        "z",
        report or latent(),
        previous,
        standing or Standing(),
        scene(**changes),
        Limits(limit, DEAD * limit),
    )


# --- since when ---


def test_it_says_since_when():
    """The step of the first check in a row at which something was wrong."""
    told = alert(standing=Standing(since=350))
    assert told.since == 350
    assert "since step 350" in told.text


def test_since_now_is_not_worth_a_line():
    """What began at this very check needs no date."""
    assert "since" not in alert(standing=Standing(since=500)).text


@pytest.mark.parametrize("level", [OK, YELLOW])
def test_a_recovery_tells_nothing_of_what_was(level):
    """Neither since when, nor units, nor a forecast, nor the last healthy step."""
    told = alert(latent(level), RED, Standing(since=350, history=FALLING))
    assert (told.since, told.units, told.forecast) == (None, (), None)
    for words in ("since", "units", "forecast", "last healthy"):
        assert words not in told.text


# --- which units ---


def test_silent_units_are_those_that_carry_nothing():
    """A signal fraction of at most 0.05; one whose numbers are unknown counts as silent."""
    signal = np.array([0.0, 0.0499, 0.0501, 1e-9, math.nan, 3.0])
    total = np.array([1.0, 1.0, 1.0, 1e-9 / 0.06, 1.0, 3.1])
    report = LatentReport(
        RED, {}, {"mean_variance": signal, "posterior_variance": total - signal}, ()
    )
    assert silent_units(report) == (0, 1, 4)


def test_it_names_the_units():
    """By index, with how many there are."""
    told = alert()
    assert (told.units, told.unit_count) == ((1, 2), 3)
    assert "units that carry nothing: 1, 2 of 3" in told.text


def test_all_units_are_not_listed():
    """When none carries anything the number says it."""
    told = alert(latent(signal=(0.0, 0.0, 0.0)))
    assert told.units == (0, 1, 2)
    assert "all 3 units carry nothing" in told.text


def test_many_units_are_cut_short():
    """Eight are named, and that there are more."""
    signal = np.array([0.0] * 20 + [5.0])
    report = LatentReport(
        RED, {}, {"mean_variance": signal, "posterior_variance": np.ones(21)}, SMALL
    )
    told = alert(report)
    assert told.units == tuple(range(20))
    assert "units that carry nothing: 0, 1, 2, 3, 4, 5, 6, 7, … of 21" in told.text


# --- what comes ---


def test_it_foretells_when_information_will_be_small():
    """Above the limit the forecast is of the limit: 4 exp(-0.2 x) is 0.5 at check 10.4."""
    report = latent(YELLOW, information=0.541)
    told = alert(report, OK, Standing(history=FALLING), limit=0.5)
    assert told.forecast.step == round(50 * math.log(8.0) / 0.2)
    assert told.forecast.limit == 0.5
    assert "forecast: below 0.5 nats at step 520 (95 %: 520 to 520)" in told.text


def test_below_the_limit_it_foretells_when_it_will_be_dead():
    """Then what matters is a fifth of the limit."""
    report = latent(ORANGE, information=0.541)
    told = alert(report, YELLOW, Standing(history=FALLING), limit=0.6)
    assert told.forecast.limit == pytest.approx(DEAD * 0.6)
    assert told.forecast.step == round(50 * math.log(4.0 / 0.12) / 0.2)


def test_what_does_not_fall_is_not_foretold():
    """A level information has no forecast, and no line."""
    still = tuple((step, -1.0) for step, _ in FALLING)
    told = alert(standing=Standing(history=still))
    assert told.forecast is None
    assert "forecast" not in told.text


# --- beta ---


def test_a_beta_that_rose_is_to_go_back():
    """The advice names its value now, and at the last healthy step."""
    told = alert(beta=4.0, healthy_beta=0.25)
    assert "lower beta from 4 towards 0.25, its value at the last healthy step" in told.advice
    assert "warm it up" not in told.advice


@pytest.mark.parametrize(
    ("beta", "healthy"), [(4.0, math.nan), (math.nan, 4.0), (4.0, 4.0), (1.0, 4.0)]
)
def test_a_beta_that_did_not_rise_is_not_named(beta, healthy):
    """Not told, never healthy, the same, or lowered: the plain advice."""
    told = alert(beta=beta, healthy_beta=healthy)
    assert "lower beta or warm it up more slowly" in told.advice
    assert "towards" not in told.advice


def test_an_ignored_latent_is_not_told_to_lower_beta():
    """What informs but is not used needs a weaker decoder, nothing else."""
    ignored = (Indicator("decoder_ignores_latent", 0.0, 0.3),)
    told = alert(latent(indicators=ignored, information=6.0), beta=4.0, healthy_beta=1.0)
    assert "it does not need z" in told.advice
    assert "beta" not in told.advice


# --- the rest ---


@pytest.mark.parametrize("probed", [False, True])
def test_red_says_whether_the_decoder_was_asked(probed):
    """Without a probe at this check red is not confirmed by one, and says so."""
    gap = {"decoder_gap": 0.0, "decoder_gap_error": 0.1} if probed else {}
    told = alert(latent(**gap))
    assert told.probed is probed
    assert ("not confirmed by a decoder probe" in told.text) is not probed
    assert "not confirmed" not in alert(latent(ORANGE)).text


def test_an_alert_is_in_the_language_of_the_run():
    """Title with the manual's levels, reasons and advice; names of indicators stay."""
    told = alert(language="zh", beta=4.0, healthy_beta=1.0, standing=Standing(since=350))
    assert told.language == "zh"
    assert told.title == "后验塌缩：z 黄色警告 -> 红色警报"
    assert "把 beta 从 4 降到 1 左右" in told.advice
    assert "自第 350 步起" in told.text


def test_an_explosion_leaves_the_level_alone():
    """It is told of apart, from a level to the same, with its own advice."""
    exploding = (*SMALL, Indicator("explosion", 500.0, 100.0))
    told = explosion_alert("z", latent(ORANGE, exploding), scene())
    assert (told.kind, told.previous, told.level) == ("explosion", ORANGE, ORANGE)
    assert [indicator.name for indicator in told.indicators] == ["explosion"]
    assert "clip gradients" in told.text
    assert explosion_alert("z", latent(), scene()) is None


# --- end to end ---


def decaying(monitor, steps, rate, beta=None):
    """A latent whose means shrink by ``rate`` a step after step 40, pulled by the loss."""
    for step in range(1, steps + 1):
        spread = 2.0 * math.exp(-rate * max(step - 40, 0))
        mean = spread * torch.randn((64, 4), generator=torch.Generator().manual_seed(step))
        mean.requires_grad_()
        monitor.observe("z", mean, torch.full((64, 4), -0.5))
        (0.5 * mean**2).sum().backward()
        monitor.step(beta=None if beta is None else beta(step))


def test_a_collapse_under_a_rising_beta_is_told_in_full():
    """From the monitor: since when, how many units, and the beta to go back to."""

    def beta(step):
        value = 1.0 + 0.1 * max(step - 40, 0)
        return torch.tensor(value) if step % 2 else value

    monitor, memory = recorded(check_frequency=5)
    decaying(monitor, 100, 0.06, beta)
    told = [float(beta(report.step)) for report in memory.reports]
    assert [report.measures["beta"] for report in memory.reports] == pytest.approx(told)
    first, *_, last = memory.alerts
    assert (first.level, last.level) == (YELLOW, RED)
    assert last.since == first.step < last.step
    assert last.unit_count == 4
    now, then = float(beta(last.step)), float(beta(last.last_healthy_step))
    assert f"lower beta from {now:.3g} towards {then:.3g}" in last.advice


def test_a_forecast_comes_true():
    """Once the information is small its logarithm is linear, and what is foretold happens."""
    monitor, memory = recorded(check_frequency=5)
    decaying(monitor, 300, 0.02)
    told = next(alert for alert in memory.alerts if alert.forecast)
    assert told.forecast.limit == pytest.approx(0.1)
    seen = {r.step: r.latents["z"].measures["information"] for r in memory.reports}
    crossed = next(step for step, information in seen.items() if information < 0.1)
    assert told.step < crossed
    assert abs(told.forecast.step - crossed) <= 15  # of the 40 or more that lay ahead
