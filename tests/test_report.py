"""Reports and alerts: what leaves the detector, as tags, as JSON and in words."""

import dataclasses
import json
import math

import numpy as np
import pytest

from collapse_logging.alert_parts import Forecast
from collapse_logging.messages import INDICATORS, advice
from collapse_logging.report import (
    Alert,
    Indicator,
    LatentReport,
    Level,
    Report,
    alert_to_dict,
)
from collapse_logging.rules import Rules
from collapse_logging.words import LANGUAGES, word

MEASURES = {
    "information": 3.25,
    "kl": 4.5,
    "active_units": 2.0,
    "active_fraction": 0.5,
    "posterior_variance": 0.4,
    "growth": -1.5,
    "mutual_information": 2.75,
}
PER_UNIT = {
    "posterior_variance": np.array([0.1234567, 1.0, 1e-8]),
    "growth": np.array([math.nan, math.inf, -2.0]),
}


def latent(level=Level.OK, indicators=(), **changes):
    """A latent's part of a report."""
    return LatentReport(level, MEASURES | changes, PER_UNIT, tuple(indicators))


def report(*alerts, **latents):
    """A report on the latents."""
    return Report(
        step=150,
        check=2,
        level=max(part.level for part in latents.values()),
        latents=latents,
        alerts=alerts,
        measures={"reconstruction_loss": 88.5},
        steps=50,
        last_healthy_step=100,
    )


def alert(level=Level.RED, previous=Level.ORANGE, name="z", **changes):
    """A change of level with two indicators."""
    indicators = (Indicator("information", 0.03125, 0.5), Indicator("growth", -7.5, -2.0))
    values = {"indicators": indicators, "last_healthy_step": 100, "advice": "lower beta"}
    return Alert(150, name, previous, level, **values | changes)


# --- scalars ---


def test_scalars_have_the_designs_tags_and_no_other():
    """collapse/level, collapse/<latent>/level, collapse/<latent>/<measure>, and the run's own."""
    expected = {"collapse/level": 3.0, "collapse/reconstruction_loss": 88.5}
    for name, level in (("z", 1.0), ("encoder.top", 3.0)):
        expected[f"collapse/{name}/level"] = level
        expected |= {f"collapse/{name}/{measure}": v for measure, v in MEASURES.items()}
    both = report(z=latent(Level.YELLOW), **{"encoder.top": latent(Level.RED)})
    assert both.scalars() == expected
    assert {type(value) for value in both.scalars().values()} == {float}


def test_scalars_take_another_prefix():
    """Two monitors in one run keep apart."""
    tags = report(z=latent()).scalars("second/collapse")
    assert {"second/collapse/level", "second/collapse/z/kl"} <= set(tags)
    assert all(tag.startswith("second/collapse/") for tag in tags)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scalars_are_finite(value):
    """What cannot be drawn is a gap in the curve: absent, not zero."""
    damaged = dataclasses.replace(
        report(z=latent(kl=value)), measures={"reconstruction_loss": value}
    )
    tags = damaged.scalars()
    assert "collapse/z/kl" not in tags
    assert "collapse/reconstruction_loss" not in tags
    assert tags["collapse/z/information"] == 3.25
    assert all(math.isfinite(number) for number in tags.values())


@pytest.mark.parametrize(("healthy_step", "healthy"), [(150, True), (100, False), (None, False)])
def test_a_report_is_healthy_at_its_own_step_only(healthy_step, healthy):
    """An earlier healthy step does not make this check one."""
    now = dataclasses.replace(report(z=latent()), last_healthy_step=healthy_step)
    assert now.healthy is healthy


# --- JSON ---


def test_a_report_is_plain_json():
    """Levels by name, vectors to five significant digits, non-finite values null; the text
    holds neither NaN nor Infinity.
    """
    indicator = Indicator("explosion", math.nan, 0.0)
    full = report(alert(), z=latent(Level.RED, [indicator], kl=math.inf, growth=math.nan))
    assert json.loads(json.dumps(full.to_dict(), allow_nan=False)) == {
        "step": 150,
        "check": 2,
        "level": "RED",
        "steps": 50,
        "last_healthy_step": 100,
        "measures": {"reconstruction_loss": 88.5},
        "latents": {
            "z": {
                "level": "RED",
                "measures": MEASURES | {"kl": None, "growth": None},
                "per_unit": {
                    "posterior_variance": [0.12346, 1.0, 1e-08],
                    "growth": [None, None, -2.0],
                },
                "indicators": [{"name": "explosion", "value": None, "limit": 0.0}],
            }
        },
        "alerts": [
            {
                "step": 150,
                "latent": "z",
                "kind": "collapse",
                "previous": "ORANGE",
                "level": "RED",
                "last_healthy_step": 100,
                "since": None,
                "units": [],
                "unit_count": 0,
                "forecast": None,
                "probed": False,
                "checkpoint": None,
                "actions": [],
                "optional": False,
                "language": "en",
                "advice": "lower beta",
                "indicators": [
                    {"name": "information", "value": 0.03125, "limit": 0.5},
                    {"name": "growth", "value": -7.5, "limit": -2.0},
                ],
            }
        ],
    }


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_non_finite_reaches_the_json(bad):
    """Wherever a NaN or an infinity turns up, limits included, the line is valid JSON."""
    indicator = Indicator("kl", bad, bad)
    broken = dataclasses.replace(
        report(
            alert(indicators=(indicator,)),
            z=LatentReport(
                Level.RED,
                dict.fromkeys(MEASURES, bad),
                {"kl": np.array([bad, 1.0])},
                (indicator,),
            ),
        ),
        measures={"reconstruction_loss": bad},
    )
    line = json.dumps(broken.to_dict(), allow_nan=False)
    assert json.loads(line)["latents"]["z"]["per_unit"]["kl"] == [None, 1.0]


@pytest.mark.parametrize("limit", [np.float32(0.25), np.float64(0.25), np.int64(1), math.inf])
def test_any_threshold_that_rules_accept_can_be_written(limit):
    """A limit read from an array, or none at all (infinity), does not break the ledger."""
    rules = Rules(kl_threshold=limit)
    values = MEASURES | {"kl": 0.125, "information": 1.0}
    vectors = {"kl": np.full(4, 0.03), "posterior_variance": np.full(4, 0.4)}
    found = rules.indicators(values, vectors, 4)
    assert [indicator.name for indicator in found] == ["kl"]
    written = report(alert(indicators=found), z=latent(Level.YELLOW, found)).to_dict()
    again = json.loads(json.dumps(written, allow_nan=False))
    assert again["alerts"][0]["indicators"][0]["value"] == 0.125


def test_all_that_an_alert_knows_is_json():
    """Units as a list, the forecast as an object whose open end is null."""
    full = alert(
        since=50,
        units=(0, 3),
        unit_count=4,
        forecast=Forecast(200, 180, None, 0.5),
        probed=True,
        checkpoint="last_healthy_step_100.ckpt",
        optional=True,
        language="zh",
    )
    again = json.loads(json.dumps(alert_to_dict(full), allow_nan=False))
    assert again["forecast"] == {"step": 200, "low": 180, "high": None, "limit": 0.5}
    kept = ("since", "units", "unit_count", "probed", "checkpoint", "optional", "language")
    assert [again[key] for key in kept] == [
        50,
        [0, 3],
        4,
        True,
        "last_healthy_step_100.ckpt",
        True,
        "zh",
    ]


def test_an_alert_alone_is_json():
    """The ledger writes alerts by themselves; one before any healthy step says null."""
    line = alert_to_dict(alert(last_healthy_step=None, kind="explosion"))
    again = json.loads(json.dumps(line, allow_nan=False))
    assert again["last_healthy_step"] is None
    assert again["kind"] == "explosion"


# --- words ---


@pytest.mark.parametrize(
    ("previous", "level", "title"),
    [
        (Level.OK, Level.YELLOW, "watch: z OK -> YELLOW"),
        (Level.YELLOW, Level.ORANGE, "collapse risk: z YELLOW -> ORANGE"),
        (Level.OK, Level.RED, "posterior collapse: z OK -> RED"),
        (Level.RED, Level.YELLOW, "improving: z RED -> YELLOW"),
        (Level.RED, Level.OK, "recovery: z RED -> OK"),
    ],
)
def test_a_title_says_what_happened_to_which_latent(previous, level, title):
    """One phrase for the change, the latent's name and both levels."""
    assert alert(level, previous).title == title


def test_an_explosions_title_is_not_of_a_collapse():
    """It names its kind and the latent."""
    assert alert(Level.OK, Level.OK, kind="explosion").title == "explosion: z"


@pytest.mark.parametrize("length", [1, 30, 31, 60, 500])
@pytest.mark.parametrize("kind", ["collapse", "explosion"])
@pytest.mark.parametrize("previous", Level)
@pytest.mark.parametrize("level", Level)
def test_a_title_has_at_most_63_characters(previous, level, kind, length):
    """Trackers cut or refuse longer ones, however long the latent's name is."""
    title = alert(level, previous, name="z" * length, kind=kind).title
    assert 0 < len(title) <= 63


def test_a_text_says_what_why_since_when_and_what_to_do():
    """Step and title, each indicator with value and limit, the last healthy step, the advice."""
    text = alert().text
    for words in (
        "Step 150: posterior collapse: z ORANGE -> RED",
        "information 0.0312",
        "0.5",
        "growth -7.5",
        "-2",
        "last healthy step: 100",
        "what to do: lower beta",
    ):
        assert words in text


def test_a_text_admits_that_nothing_was_healthy():
    """A run that never carried anything has no step to go back to."""
    assert "last healthy step: none so far" in alert(last_healthy_step=None).text


def test_a_recoverys_text_asks_for_nothing():
    """No indicators, no step to go back to, no advice."""
    text = alert(Level.OK, Level.RED, indicators=(), advice="").text
    assert text == "Step 150: recovery: z RED -> OK"


@pytest.mark.parametrize("name", sorted(INDICATORS))
@pytest.mark.parametrize("value", [0.03125, math.nan, math.inf])
def test_an_indicator_reads_as_one_phrase(name, value):
    """Name, value and limit, whatever the value, in one line."""
    phrase = str(Indicator(name, value, 0.125))
    assert phrase.startswith(f"{name} {value:.3g}")
    assert "0.125" in phrase
    assert "\n" not in phrase


def test_advice_grows_with_the_level():
    """Nothing at OK, patience at yellow, what to change at orange, and to stop at red."""
    indicators = (Indicator("information", 0.1, 0.5),)
    ok, yellow, orange, red = (advice(level, indicators) for level in Level)
    assert ok == ""
    assert "keep watching" in yellow
    assert "summed over pixels" in orange
    assert "beta" in orange
    assert "free bits" in orange
    assert red.startswith("stop")
    assert orange in red


def test_who_never_was_healthy_is_not_sent_back():
    """Without a healthy step red says to start again, in both languages."""
    indicators = (Indicator("information", 0.1, 0.5),)
    for language in LANGUAGES:
        told = advice(Level.RED, indicators, language, healthy=False)
        assert told.startswith(word(language, "advise afresh"))
        assert word(language, "advise stop") not in told


@pytest.mark.parametrize("language", LANGUAGES)
def test_advice_has_what_the_manual_recommends(language):
    """Its prevention: a lower beta, a warm-up, free bits; its red: stop. Each in both languages."""
    told = advice(Level.RED, (Indicator("kl", 0.001, 0.01),), language)
    for words in (("beta",), ("warm", "预热"), ("free bits",), ("stop", "停止训练")):
        assert any(part in told for part in words)


def test_advice_does_not_send_to_free_bits_who_came_from_there():
    """A mismatch is their own doing: a weaker decoder is what is left."""
    told = advice(Level.RED, (Indicator("mismatch", 8.0, 1.0),))
    assert "try free bits" not in told
    assert "weaken the decoder" in told


def test_levels_are_ordered_and_coloured():
    """The worst of several is their maximum; each has its own sign."""
    assert max(Level.YELLOW, Level.RED, Level.OK) is Level.RED
    assert [int(level) for level in Level] == [0, 1, 2, 3]
    assert [level.emoji for level in Level] == ["🟢", "🟡", "🟠", "🔴"]


@pytest.mark.parametrize("value", [alert(), latent(), report(z=latent())])
def test_what_leaves_the_detector_is_frozen(value):
    """A writer cannot change what the next one gets."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.level = Level.OK
