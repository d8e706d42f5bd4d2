"""Which indicators a check raises, and how rules are written down."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from collapse_logging import measures
from collapse_logging.messages import INDICATORS
from collapse_logging.posterior import Posterior
from collapse_logging.rules import PRESETS, Rules, resolve_rules
from collapse_logging.statistics import Statistics

HEALTHY = {
    "information": 6.0,
    "kl": 8.0,
    "posterior_variance": 0.4,
    "active_fraction": 0.75,
    "growth": -30.0,
}
VECTORS = {"kl": np.full(4, 2.0), "posterior_variance": np.full(4, 0.4)}


def raised(rules=None, dimensions=4, trend=None, vectors=None, **changes):
    """Names of what the rules raise for a healthy latent with these changes."""
    per_unit = VECTORS | (vectors or {})
    found = (rules or Rules()).indicators(HEALTHY | changes, per_unit, dimensions, trend)
    return [indicator.name for indicator in found]


def judge(mean, log_variance, rules=None):
    """Names of what the rules raise for a window of these samples."""
    posterior = Posterior(mean, log_variance)
    statistics = Statistics(*posterior.positions_and_units)
    statistics.update(posterior)
    found = (rules or Rules()).indicators(
        measures.scalars(statistics),
        measures.per_unit(statistics),
        measures.dimensions(statistics),
    )
    return [indicator.name for indicator in found]


def noise(*shape):
    """The same normal samples at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# --- one indicator at a time ---


def test_a_healthy_latent_raises_nothing():
    """Growth hovers once a latent carries something: alone it accuses nobody."""
    assert raised() == []
    assert raised(trend=(-0.5, -20.0)) == []


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("kl", {"kl": 0.0099}, {"kl": 0.0101}),
        ("variance", {"posterior_variance": 0.901}, {"posterior_variance": 0.899}),
        ("variance", {"posterior_variance": 1.099}, {"posterior_variance": 1.101}),
        ("variance", {"posterior_variance": 1.0}, {"posterior_variance": 0.0}),
        ("active_units", {"active_fraction": 0.099}, {"active_fraction": 0.1}),
        ("active_units", {"active_fraction": 0.0}, {"active_fraction": 1.0}),
        (
            "information",
            {"information": 0.499, "kl": 0.9, "growth": 0.0},
            {"information": 0.5, "kl": 0.9, "growth": 0.0},
        ),
        (
            "information",
            {"information": 1.99, "kl": 3.0, "dimensions": 400, "growth": 5.0},
            {"information": 2.0, "kl": 3.0, "dimensions": 400, "growth": 5.0},
        ),
        (
            "decoder_ignores_latent",
            {"decoder_gap": 0.29, "decoder_gap_error": 0.1},
            {"decoder_gap": 0.31, "decoder_gap_error": 0.1},
        ),
        (
            "decoder_ignores_latent",
            {"decoder_gap": 0.0, "decoder_gap_error": 0.0},
            {"decoder_gap": 1e-9, "decoder_gap_error": 0.0},
        ),
        (
            "decoder_ignores_latent",
            {"decoder_gap": -1.0, "decoder_gap_error": 0.1},
            {"decoder_gap": 1.0, "decoder_gap_error": 0.1},
        ),
        ("reconstruction_trend", {"trend": (0.021, 4.1)}, {"trend": (0.019, 99.0)}),
        ("reconstruction_trend", {"trend": (0.5, 4.1)}, {"trend": (0.5, 3.9)}),
        ("explosion", {"vectors": {"kl": [2, 2, 101, 2]}}, {"vectors": {"kl": [99] * 4}}),
        (
            "explosion",
            {"vectors": {"posterior_variance": [0.4, 0.4, 0.4, 10.1]}},
            {"vectors": {"posterior_variance": [0.4, 0.4, 0.4, 9.9]}},
        ),
        ("explosion", {"nonfinite": 1.0}, {"nonfinite": 0.0}),
    ],
)
def test_an_indicator_is_raised_on_its_own_side_alone(name, bad, good):
    """Just beyond its limit an indicator is raised, and no other; just before it, none."""
    assert raised(**_arrays(bad)) == [name]
    assert raised(**_arrays(good)) == []


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("growth", {"growth": -2.01}, {"growth": -1.99}),
        ("growth", {"growth": -50.0}, {"growth": 50.0}),
        ("mismatch", {"kl": 1.01}, {"kl": 0.99}),
        ("mismatch", {"kl": 1.61, "information": 0.4}, {"kl": 1.59, "information": 0.4}),
    ],
)
def test_some_indicators_need_small_information(name, bad, good):
    """Growth and mismatch say something only where the latent carries too little."""
    small = {"information": 0.1, "kl": 0.3, "growth": 0.0}
    assert raised(**small | bad) == ["information", name]
    assert raised(**small | good) == ["information"]
    assert raised(**small | bad | {"information": 0.5}) == []


def _arrays(changes):
    vectors = {name: np.array(v, float) for name, v in changes.get("vectors", {}).items()}
    return changes | {"vectors": vectors}


def test_a_missing_growth_raises_nothing():
    """Where no gradient was seen, growth is not counted as zero, nor as shrinking."""
    values = {name: value for name, value in HEALTHY.items() if name != "growth"}
    values |= {"information": 0.1, "kl": 0.2}
    found = Rules(growth_limit=0.0).indicators(values, VECTORS, 4)
    assert [indicator.name for indicator in found] == ["information"]


def test_an_unreadable_latent_is_an_explosion_not_a_collapse():
    """When nothing was finite there is one indicator, and it is not one of collapse."""
    values = {"samples": 0.0, "nonfinite": 64.0}
    vectors = {name: np.full(4, math.nan) for name in VECTORS}
    found = Rules().indicators(values, vectors, 4)
    assert [indicator.name for indicator in found] == ["explosion"]


def test_indicators_carry_value_and_limit():
    """What is reported is what was measured, and what it was held against."""
    found = Rules(kl_threshold=0.5).indicators(
        HEALTHY
        | {"information": 0.2, "kl": 0.25, "growth": -7.0}
        | {"decoder_gap": 0.25, "decoder_gap_error": 0.125},
        VECTORS,
        400,
    )
    assert [(i.name, i.value, i.limit) for i in found] == [
        ("information", 0.2, 2.0),
        ("growth", -7.0, -2.0),
        ("kl", 0.25, 0.5),
        ("decoder_ignores_latent", 0.25, 0.375),
    ]


@pytest.mark.parametrize("dimensions", [1, 100, 101, 4000])
def test_small_information_grows_with_the_latent(dimensions):
    """The limit is half a nat, or 0.005 nats a dimension where that is more."""
    assert Rules().small_information(dimensions) == max(0.5, 0.005 * dimensions)
    rules = Rules(information_limit=3.0, information_per_dimension=1.0)
    assert rules.small_information(dimensions) == max(3.0, dimensions)


@pytest.mark.parametrize("name", sorted(INDICATORS))
@pytest.mark.parametrize("literal", [False, True])
def test_what_is_ignored_is_never_raised(name, literal):
    """An ignored indicator is missing; the others are raised as before."""
    everything = {
        "information": 0.001,
        "kl": 0.009,
        "posterior_variance": 0.95,
        "active_fraction": 0.0,
        "growth": -9.0,
        "nonfinite": 3.0,
        "trend": (0.5, 10.0),
        "decoder_gap": 0.0,
        "decoder_gap_error": 0.1,
        "vectors": {"posterior_variance": np.full(4, 0.05)},
    }
    mismatch = everything | {"kl": 9.0}
    sharp = everything | {"posterior_variance": 0.05}
    for changes in (everything, mismatch, sharp):
        rules = Rules(literal=literal)
        before = raised(rules, **changes)
        after = raised(dataclasses.replace(rules, ignore=(name,)), **changes)
        assert after == [other for other in before if other != name]


def test_an_unreadable_latent_can_be_ignored_too():
    """``ignore`` holds for a latent without a finite sample as well."""
    values = {"samples": 0.0, "nonfinite": 64.0}
    assert Rules(ignore=("explosion",)).indicators(values, VECTORS, 4) == ()


# --- whole latents ---


@pytest.mark.parametrize("log_variance", [-2.0, -8.0, -18.0])
@pytest.mark.parametrize("shape", [(256, 16), (64, 20, 16), (16, 4, 32, 32)])
def test_a_sharp_decoder_raises_nothing(shape, log_variance):
    """A posterior variance towards 0 is the opposite of a collapse, and a latent of many
    positions is no explosion for its size.
    """
    mean = noise(*shape)
    assert judge(mean, torch.full_like(mean, log_variance)) == []


@pytest.mark.parametrize("shape", [(256, 16), (64, 20, 16), (16, 4, 32, 32)])
def test_a_true_collapse_raises_every_sign_of_it(shape):
    """Mean 0 and variance 1: information, KL, variance and active units all say so."""
    mean = torch.zeros(shape)
    assert judge(mean, mean) == ["information", "kl", "variance", "active_units"]


def test_free_bits_do_not_hide_a_collapse():
    """A KL held up by an offset, half a nat a unit, is a mismatch; the KL itself is silent."""
    mean = torch.ones(256, 16)
    assert judge(mean, torch.zeros_like(mean)) == [
        "information",
        "mismatch",
        "variance",
        "active_units",
    ]


def test_an_over_provisioned_latent_raises_at_most_a_warning():
    """Twenty of fifty units carrying much is health, the thirty others are spare."""
    mean, log_variance = noise(256, 50), torch.full((256, 50), -3.0)
    mean[:, 20:], log_variance[:, 20:] = 0.0, 0.0
    assert judge(mean, log_variance) == []


def test_an_exploding_latent_says_so():
    """A KL of 200 nats in a single unit, or a variance of e^3, is an explosion."""
    mean, log_variance = noise(256, 8), torch.full((256, 8), -1.0)
    mean[:, 3] += 20.0
    assert judge(mean, log_variance) == ["explosion"]
    log_variance[:, 3] = 3.0
    assert "explosion" in judge(noise(256, 8), log_variance)


# --- the manual's rules, read literally ---


def about_variance(names):
    """Those of the names that are about the posterior variance."""
    return [name for name in names if "variance" in name]


def test_the_manual_is_reversed_about_a_sharp_latent():
    """Read literally, a posterior variance of 0.01 (a sharp, healthy unit) raises the alarm."""
    mean = noise(256, 8)
    names = judge(mean, torch.full_like(mean, math.log(0.01)), PRESETS["manual"])
    assert len(about_variance(names)) == 1
    assert [name for name in names if "active" in name]
    assert "kl" not in names


def test_the_manual_is_reversed_about_a_collapse():
    """Read literally, a true collapse has a fine variance and 100 % of its units active."""
    mean = torch.zeros(256, 8)
    assert judge(mean, mean, PRESETS["manual"]) == ["kl"]


def test_the_manuals_active_ratio_is_of_units_above_the_threshold():
    """Its ratio counts units whose posterior variance is above var_threshold, and must exceed
    active_units_threshold.
    """
    few = {"posterior_variance": np.array([0.11] + [0.09] * 10)}
    enough = {"posterior_variance": np.array([0.11] + [0.09] * 9)}
    names = raised(PRESETS["manual"], vectors=few)
    assert len(names) == 1
    assert "active" in names[0]
    assert raised(PRESETS["manual"], vectors=enough) == []


# --- presets, overrides and their errors ---

MANUALS = (
    "kl_threshold",
    "var_threshold",
    "active_units_threshold",
    "window_size",
    "check_frequency",
    "early_stop_patience",
)


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("default", (0.01, 0.1, 0.1, 100, 50, 200)),
        ("manual", (0.01, 0.1, 0.1, 100, 50, 200)),
        ("fast", (0.005, 0.05, 0.15, 50, 20, 100)),
    ],
)
def test_presets_have_the_manuals_values(preset, values):
    """The manual's names and numbers, for its default and its fast configuration."""
    rules = resolve_rules(preset, {})
    assert tuple(getattr(rules, name) for name in MANUALS) == values
    assert rules.literal == (preset == "manual")


def test_overrides_replace_what_is_given():
    """None means not given; everything else is kept from the preset or the rules."""
    rules = resolve_rules("fast", {"kl_threshold": 0.2, "window_size": None})
    assert rules == dataclasses.replace(PRESETS["fast"], kl_threshold=0.2)
    own = Rules(confirm_checks=5)
    assert resolve_rules(own, {}) == own
    assert resolve_rules(own, {"skip_checks": 0}) == Rules(confirm_checks=5, skip_checks=0)


@pytest.mark.parametrize(
    ("rules", "overrides", "error", "words"),
    [
        ("defualt", {}, ValueError, r"rules: .*\['default', 'fast', 'manual'\].*'defualt'.*mean"),
        ("fasst", {}, ValueError, "Did you mean 'fast'"),
        ("Manual", {}, ValueError, "Did you mean 'manual'"),
        ("zzz", {}, ValueError, r"rules: expected one of .*got 'zzz'\.$"),
        (7, {}, TypeError, r"rules: expected a preset's name .*'fast'.* or Rules\(...\), got int"),
        (None, {}, TypeError, "rules: expected a preset's name .*NoneType"),
        ("fast", {"kl_treshold": 1.0}, TypeError, "kl_treshold"),
        ("fast", {"kl_threshold": -1.0}, ValueError, "kl_threshold"),
    ],
)
def test_rules_that_cannot_be_are_refused(rules, overrides, error, words):
    """A misspelt preset names the nearest; a wrong type or field says what was expected."""
    with pytest.raises(error, match=words):
        resolve_rules(rules, overrides)


@pytest.mark.parametrize(
    ("ignored", "words"),
    [
        ("growht", "Did you mean 'growth'"),
        ("active_unit", "Did you mean 'active_units'"),
        ("xyz", "ignore: expected one of .*'explosion'.*'information'.*'variance'.*got 'xyz'"),
    ],
)
def test_an_unknown_indicator_cannot_be_ignored(ignored, words):
    """The error lists the indicators that there are, and the nearest."""
    with pytest.raises(ValueError, match=words):
        Rules(ignore=("kl", ignored))


NUMBERS = (
    "kl_threshold",
    "var_threshold",
    "active_units_threshold",
    "information_limit",
    "information_per_dimension",
    "growth_limit",
)
COUNTS = (
    "window_size",
    "check_frequency",
    "early_stop_patience",
    "confirm_checks",
    "recovery_checks",
)


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-0.001, ValueError),
        (math.nan, ValueError),
        (-math.inf, ValueError),
        (True, TypeError),
        (None, TypeError),
        ("0.1", TypeError),
        ([0.1], TypeError),
    ],
)
def test_a_threshold_is_a_number_from_zero(field, value, error):
    """The error names the argument, its range and what came."""
    with pytest.raises(error, match=rf"{field}: expected a number from 0 to (1|inf), got .+\."):
        Rules(**{field: value})


def test_a_fraction_is_at_most_one():
    """active_units_threshold is a share of the units."""
    assert Rules(active_units_threshold=1).active_units_threshold == 1
    with pytest.raises(ValueError, match=r"active_units_threshold: .* from 0 to 1, got 1\.5"):
        Rules(active_units_threshold=1.5)


@pytest.mark.parametrize("field", [*COUNTS, "skip_checks"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (1.0, TypeError),
        (math.nan, TypeError),
        (True, TypeError),
        (None, TypeError),
        ("3", TypeError),
    ],
)
def test_a_count_is_an_integer(field, value, error):
    """The error names the argument, the least that it may be and what came."""
    least = 0 if field == "skip_checks" else 1
    words = rf"{field}: expected an integer of at least {least}, got "
    with pytest.raises(error, match=words):
        Rules(**{field: value})


@pytest.mark.parametrize("field", COUNTS)
def test_a_count_is_at_least_one(field):
    """Zero is refused, but for the checks to skip."""
    with pytest.raises(ValueError, match=f"{field}: expected an integer of at least 1, got 0"):
        Rules(**{field: 0})
    assert Rules(skip_checks=0).skip_checks == 0


def test_numpy_numbers_are_numbers():
    """Values read from an array or a table are accepted."""
    rules = Rules(kl_threshold=np.float32(0.25), var_threshold=0, window_size=np.int64(9))
    assert (rules.kl_threshold, rules.var_threshold, rules.window_size) == (0.25, 0, 9)
