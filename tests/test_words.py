"""The catalogue of words: complete in both languages, and no text leaves a hole."""

import itertools
import re
import string

import pytest

from collapse_logging import CollapseMonitor
from collapse_logging.alert_parts import Forecast
from collapse_logging.messages import INDICATORS, advice, describe, verdict
from collapse_logging.report import Alert, Indicator, LatentReport, Level, Report
from collapse_logging.words import LANGUAGES, catalogue, default_language, word

from .parts import gaussian

CHINESE = re.compile("[\u4e00-\u9fff]")
PLACES = ("LC_ALL", "LC_MESSAGES", "LANG")


def placeholders(text):
    """Names and formats of a text's placeholders, in any order."""
    return sorted(
        (name, form.lstrip("<>^0123456789"))
        for _, name, form, _ in string.Formatter().parse(text)
        if name is not None
    )


def test_the_catalogues_have_the_same_keys():
    """What can be said in one language can be said in the others."""
    english = catalogue("en")
    assert set(LANGUAGES) == {"en", "zh"}
    for language in LANGUAGES:
        assert catalogue(language).keys() == english.keys()
        filled = {key for key, text in catalogue(language).items() if text.strip()}
        assert filled == {key for key, text in english.items() if text.strip()}


@pytest.mark.parametrize("key", catalogue("en"))
def test_the_catalogues_have_the_same_placeholders(key):
    """Every value is told in both, in the same precision; widths differ with the script."""
    english, chinese = (catalogue(language)[key] for language in ("en", "zh"))
    assert placeholders(english) == placeholders(chinese)
    assert not CHINESE.search(english)
    sentence = re.search("[a-z]{3}", re.sub(r"{.*?}", "", english))
    assert chinese != english or not sentence


# --- the environment's language ---


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_CH.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}, "zh"),
        ({"LANG": "Chinese_China.936"}, "zh"),
    ],
)
def test_the_language_is_the_environments(environment, language, monkeypatch):
    """LC_ALL before LC_MESSAGES before LANG, as everywhere; an empty one is not set."""
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_language() == language


def test_without_an_environment_it_is_english(monkeypatch):
    """Where nothing is set and Python knows no locale."""
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    assert default_language() == "en"


@pytest.mark.parametrize("given", [None, "en"])
def test_a_given_language_goes_before_the_environments(given, monkeypatch):
    """``language=`` is what the alerts are in; None asks the environment."""
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monitor = CollapseMonitor(check_frequency=1, verbose=False, language=given)
    for seed in range(4):
        monitor.observe("z", *gaussian((40, 3), seed, spread=0.001, log_variance=0.0))
        report = monitor.step()
        if report.alerts:
            break
    assert report.alerts[0].language == (given or "zh")
    assert bool(CHINESE.search(report.alerts[0].text)) == (given is None)


def test_a_language_without_a_catalogue_is_refused():
    """The error lists those that there are."""
    with pytest.raises(ValueError, match=r"language: expected one of \['en', 'zh'\], got 'fr'"):
        CollapseMonitor(language="fr")


# --- whole texts ---

UNITS = ((), (0, 3), tuple(range(20)), tuple(range(32)))
FORECASTS = (None, Forecast(900, 800, 1000, 0.5), Forecast(900, 800, None, 0.5))
KINDS = [
    (kind, previous, level)
    for kind in ("collapse", "explosion")
    for previous, level in itertools.product(Level, Level)
    if (previous is level) == (kind == "explosion")
]


def alerts(kind, previous, level, language, indicators=(), name="encoder.top"):
    """Alerts of one kind with everything that they may carry, and without it."""
    for units, forecast, healthy in zip(UNITS, (*FORECASTS, None), (None, 0, 7, 99), strict=True):
        for probed, optional, checkpoint in itertools.product(
            (False, True), (False, True), (None, "last_healthy_step_7.ckpt")
        ):
            yield Alert(
                850,
                name,
                previous,
                level,
                indicators,
                healthy,
                advice(level, indicators, language, (4.0, 1.0) if probed else None),
                kind,
                since=None if healthy is None else 800,
                units=units,
                unit_count=32,
                forecast=forecast,
                probed=probed,
                checkpoint=checkpoint,
                optional=optional,
                language=language,
            )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("kind", "previous", "level"), KINDS)
def test_no_text_has_a_hole(kind, previous, level, language):
    """Every alert's title and text is filled in, in its own language; a title has at most 63
    characters, however long the latent's name.
    """
    raised = tuple(Indicator(name, 0.125, 0.5) for name in INDICATORS)
    for indicators, name in ((raised, "z"), (raised[:1], "z" * 90), ((), "encoder.top")):
        for alert in alerts(kind, previous, level, language, indicators, name):
            assert 0 < len(alert.title) <= 63
            assert not re.search(r"[{}]|None|nan", alert.text)
            assert alert.text.count("\n  - ") == len(alert.lines)
            assert not any("\n" in line for line in (alert.title, *alert.lines))
            for line in (alert.title, *alert.lines):
                assert bool(CHINESE.search(line)) == (language == "zh")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_can_be_described(name, language):
    """Its name stays as it is in the tags; value, limit and meaning are told."""
    phrase = describe(Indicator(name, 0.03125, 0.125), language)
    assert phrase.startswith(f"{name} 0.0312")
    assert "0.125" in phrase
    assert word(language, name) in phrase
    assert not re.search("[{}]", phrase)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("healthy", [None, 0, 150])
def test_a_verdict_has_no_hole(healthy, language):
    """Step, level, every latent and the last healthy step, in the language asked for."""
    latents = {name: LatentReport(Level.RED, {}, {}) for name in ("z", "{top}")}
    line = verdict(Report(200, 3, Level.RED, latents, last_healthy_step=healthy), language)
    red = {"en": "RED", "zh": "红色警报"}[language]
    for part in ("200", red, f"z {red}", f"{{top}} {red}", "" if healthy is None else str(healthy)):
        assert part in line
    assert "None" not in line
    assert bool(CHINESE.search(line)) == (language == "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_with_braces_is_no_placeholder(language):
    """What comes from outside is never formatted."""
    name, file = "{step}", "{0}.ckpt"
    alert = Alert(1, name, Level.OK, Level.RED, advice="{x}", checkpoint=file, language=language)
    for part in (name, file, "{x}"):
        assert part in alert.text
