"""Every measure against its float64 twin, and against what it must say at both limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_logging import cells, measures, pairs
from collapse_logging.posterior import Posterior
from collapse_logging.rules import Rules
from collapse_logging.snapshot import Seen, Snapshot
from collapse_logging.statistics import Statistics
from collapse_logging.verdict import Judge
from tests import oracle

VECTORS = ("information", "kl", "mean_variance", "posterior_variance", "signal_fraction")
SHAPES = [(64, 8), (64, 5, 4), (64, 3, 4, 2)]


def window(mean, log_variance, mask=None, batch=64, merged=False):
    """Statistics of the samples in batches of ``batch``, each in a window of its own or not."""
    positions, units = Posterior(mean, log_variance).positions_and_units
    statistics = Statistics(positions, units)
    for i in range(0, len(mean), batch):
        part = Statistics(positions, units) if merged else statistics
        posterior = Posterior(mean[i : i + batch], log_variance[i : i + batch])
        part.update(posterior, None if mask is None else mask[i : i + batch])
        statistics = statistics.merge(part) if merged else part
    return statistics


def latent(*shape, seed=0):
    """Units from asleep to sharp, some of them off centre; means and log variances in fp32."""
    generator = torch.Generator().manual_seed(seed)
    units = shape[1] if len(shape) == 4 else shape[-1]
    across = (units, 1, 1) if len(shape) == 4 else (units,)
    spread = torch.logspace(-2, 0.5, units).reshape(across)
    mean = spread * torch.randn(shape, generator=generator) + 0.3 * torch.arange(units).reshape(
        across
    )
    log_variance = -3.0 * spread + 0.2 * torch.randn(shape, generator=generator)
    return mean, log_variance


def assert_true(statistics, truth, rtol):
    """Every vector is the oracle's."""
    for name in VECTORS:
        ours = getattr(measures, name)(statistics)
        np.testing.assert_allclose(ours, truth[name], rtol=rtol, err_msg=name)


# --- the window's measures ---


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("merged", [False, True], ids=["one window", "merged"])
@pytest.mark.parametrize("batch", [64, 16, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_fp32_measures_are_the_oracles_to_1e_5(shape, batch, merged, masked):
    """Whatever the shape, the batches, the merging and the mask."""
    mean, log_variance = latent(*shape)
    mask = None
    if masked:
        positions = Posterior(mean, log_variance).positions_and_units[0]
        mask = torch.rand(64, positions, generator=torch.Generator().manual_seed(1)) < 0.7
    statistics = window(mean, log_variance, mask, batch, merged)
    assert_true(statistics, oracle.measures(mean, log_variance, mask), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_half_precision_measures_are_right_to_1e_2(shape, dtype):
    """To 1e-5 for the values that the type holds, to 1e-2 for those before rounding."""
    mean, log_variance = latent(*shape)
    halves = mean.to(dtype), log_variance.to(dtype)
    statistics = window(*halves)
    assert_true(statistics, oracle.measures(*(half.double() for half in halves)), rtol=1e-5)
    assert_true(statistics, oracle.measures(mean, log_variance), rtol=1e-2)


@pytest.mark.parametrize("log_variance", [0.0, -0.3, -10.0])
@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_an_offset_is_paid_for_but_carries_nothing(log_variance, noise):
    """64 units held at mean 0.316: the KL reads its closed form, the information 0."""
    mean = torch.full((256, 64), 0.316)
    mean += noise * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    log_variances = torch.full_like(mean, log_variance)
    statistics = window(mean, log_variances, batch=32)
    closed_form = 0.5 * 64 * (0.316**2 + math.exp(log_variance) - 1.0 - log_variance)
    assert measures.kl(statistics).sum() == pytest.approx(closed_form, rel=1e-5)
    if log_variance == 0.0:
        assert measures.kl(statistics).sum() == pytest.approx(3.1954, abs=1e-4)
    # at ln sigma^2 = -10 a wobble of 1e-5 is worth 64 / 2 x 1e-10 x e^10 = 7e-5 nats, truly
    truth = 0.5 * 64 * noise**2 * math.exp(-log_variance)
    assert measures.information(statistics).sum() == pytest.approx(truth, rel=0.1, abs=1e-6)
    assert measures.active_units(statistics) == 0


def test_a_collapsed_latent_reads_as_the_prior():
    """At mean 0 and variance 1 everything is exactly 0, but for the variance, which is 1."""
    values = measures.scalars(window(torch.zeros(64, 5), torch.zeros(64, 5)))
    zero = ("information", "kl", "mismatch", "active_units", "active_fraction", "mean_variance")
    assert {name: values[name] for name in zero} == dict.fromkeys(zero, 0.0)
    assert values["informative_units"] == 0
    assert values["posterior_variance"] == 1
    assert values["passive_units"] == 5


def test_a_scale_is_no_information():
    """The information is the same in any unit of measure; the KL is not."""
    mean, log_variance = latent(512, 6)
    scaled = window(8.0 * mean, log_variance + 2.0 * math.log(8.0))
    plain = window(mean, log_variance)
    np.testing.assert_allclose(measures.information(scaled), measures.information(plain), rtol=1e-5)
    np.testing.assert_allclose(
        measures.signal_fraction(scaled), measures.signal_fraction(plain), rtol=1e-5
    )
    assert (measures.kl(scaled) > 2.0 * measures.kl(plain)).all()


def test_no_rounding_makes_information_negative():
    """A thousand units, each constant at a sharpness of its own, carry 0 and never less."""
    log_variance = torch.linspace(-20.0, 5.0, 1000).expand(64, 1000)
    information = measures.information(window(torch.ones(64, 1000), log_variance, batch=7))
    assert (information >= 0.0).all()
    assert information.sum() < 1e-6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(2, 60),
    offset=st.floats(-20.0, 20.0),
    scale=st.floats(1e-3, 10.0),
    sharpness=st.floats(-12.0, 4.0),
)
def test_the_kl_is_information_and_a_mismatch_that_is_never_negative(
    seed, n, offset, scale, sharpness
):
    """KL_j = U_j + 1/2 [(E mu)^2 + t - 1 - ln t] with both parts >= 0."""
    generator = torch.Generator().manual_seed(seed)
    mean = offset + scale * torch.randn(n, 3, generator=generator)
    log_variance = sharpness + torch.rand(n, 3, generator=generator)
    statistics = window(mean, log_variance)
    information, kl = measures.information(statistics), measures.kl(statistics)
    t = measures.mean_variance(statistics) + measures.posterior_variance(statistics)
    centre = mean.double().mean(0).numpy()
    np.testing.assert_allclose(
        kl, information + 0.5 * (centre**2 + t - 1.0 - np.log(t)), rtol=1e-5, atol=1e-6
    )
    assert (information >= 0.0).all()
    assert (kl - information >= -1e-6).all()


@pytest.mark.parametrize(
    ("measure", "below", "above"),
    [
        (measures.active_units, (0.0098, 0.5), (0.0102, 0.5)),
        (measures.informative_units, (0.0490 / 0.951, 1.0), (0.0510 / 0.949, 1.0)),
        (measures.passive_units, (0.0, 0.898), (0.0, 0.902)),
        (measures.passive_units, (0.0, 1.102), (0.0, 1.098)),
        (measures.passive_units, (0.0, 1e-6), (0.0, 1.0)),
    ],
    ids=["active", "informative", "passive from below", "passive from above", "sharp"],
)
def test_units_are_counted_on_their_side_of_the_limit(measure, below, above):
    """Var mu > 0.01 is active, signal fraction > 0.05 informative, variance within 0.1 of 1
    passive; pairs of (Var mu, sigma^2), three units below and two above.
    """
    variance, sigma2 = np.array([below] * 3 + [above] * 2).T
    mean = torch.tensor([[-1.0], [1.0]]) * torch.tensor(variance).sqrt()
    statistics = window(mean, torch.tensor(sigma2).log().expand(2, 5))
    assert measure(statistics) == 2


def test_how_near_to_the_prior_is_passive_can_be_chosen():
    """The threshold is the caller's."""
    statistics = window(torch.zeros(2, 3), torch.tensor([0.5, 0.8, 0.97]).log().expand(2, 3))
    counts = [measures.passive_units(statistics, limit) for limit in (0.01, 0.05, 0.25, 0.6)]
    assert counts == [0, 1, 2, 3]


def test_scalars_are_sums_and_means_of_the_vectors():
    """The names that reports use, each as its definition says."""
    mean, log_variance = latent(64, 5, 4)
    statistics = window(mean, log_variance)
    truth = oracle.measures(mean, log_variance)
    values = measures.scalars(statistics)
    active = int((truth["mean_variance"] > 0.01).sum())
    assert 0 < active < 4
    expected = {
        "information": truth["information"].sum(),
        "kl": truth["kl"].sum(),
        "mismatch": truth["kl"].sum() - truth["information"].sum(),
        "active_units": active,
        "active_fraction": active / 4,
        "informative_units": (truth["signal_fraction"] > 0.05).sum(),
        "passive_units": (np.abs(truth["posterior_variance"] - 1.0) < 0.1).sum(),
        "posterior_variance": truth["posterior_variance"].mean(),
        "mean_variance": truth["mean_variance"].mean(),
        "samples": 64,
    }
    for name in ("posterior_variance", "mean_variance"):
        for percent in (10, 50, 90):
            expected[f"{name}_p{percent}"] = oracle.quantile(truth[name], percent / 100)
    assert values == pytest.approx(expected, rel=1e-5)
    assert measures.dimensions(statistics) == 20
    vectors = measures.per_unit(statistics)
    assert set(vectors) == {
        "information",
        "kl",
        "posterior_variance",
        "mean_variance",
        "growth",
    }
    assert {len(vector) for vector in vectors.values()} == {4}


def test_quantiles_show_what_a_mean_hides():
    """Half of the units asleep, half sharp: the mean is that of no unit, p10 and p90 are."""
    log_variance = torch.tensor([0.0] * 5 + [math.log(0.01)] * 5).expand(64, 10)
    values = measures.scalars(window(torch.zeros(64, 10), log_variance))
    names = ["posterior_variance", *(f"posterior_variance_p{p}" for p in (10, 50, 90))]
    assert [values[name] for name in names] == pytest.approx([0.505, 0.01, 0.505, 1.0], rel=1e-5)


def test_quantiles_are_over_units_that_were_ever_finite():
    """A unit that is NaN throughout has no part in them."""
    mean, log_variance = latent(64, 5)
    without = measures.scalars(window(mean[:, :4], log_variance[:, :4]))
    mean[:, 4] = math.nan
    values = measures.scalars(window(mean, log_variance))
    quantiles = {name for name in values if name.endswith(("_p10", "_p50", "_p90"))}
    assert len(quantiles) == 6
    assert {n: values[n] for n in quantiles} == pytest.approx({n: without[n] for n in quantiles})


def test_padding_does_not_count_as_dimensions():
    """Sequences of 1 to 4 tokens have 2.5 positions on average."""
    mask = torch.arange(4) < torch.tensor([1, 2, 3, 4])[:, None]
    statistics = window(torch.randn(4, 4, 3), torch.zeros(4, 4, 3), mask)
    assert measures.dimensions(statistics) == 2.5 * 3


def test_an_empty_window_has_no_measures():
    """Nothing seen is a gap, not a zero that would look like a collapse."""
    assert measures.scalars(Statistics(1, 3)) == {"samples": 0.0, "nonfinite": 0.0}
    statistics = window(torch.full((4, 3), math.nan), torch.zeros(4, 3))
    assert measures.scalars(statistics) == {"samples": 0.0, "nonfinite": 12.0}


def test_trouble_is_reported_only_when_there_is_some():
    """Counts of non-finite and clamped elements appear with the first of either."""
    mean, log_variance = latent(64, 3)
    assert not {"nonfinite", "clamped"} & set(measures.scalars(window(mean, log_variance)))
    log_variance[0, 0] = 31.0
    values = measures.scalars(window(mean, log_variance))
    assert (values["nonfinite"], values["clamped"]) == (0.0, 1.0)


# --- growth ---


def grow(steps, shape=None):
    """Statistics after steps, each a list of micro-batches ``(mean, gradient)``."""
    first = steps[0][0][0]
    statistics = Statistics(*Posterior(first, first).positions_and_units)
    for step in steps:
        for mean, gradient in step:
            centred = statistics.update(Posterior(mean, torch.zeros_like(mean)))
            if gradient is not None:
                statistics.add_growth(centred, gradient)
        statistics.end_step()
    return statistics


def random_steps(count, *shape, seed=0):
    """Steps of one batch each, whose gradients spread unit 0 and shrink the others."""
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for _ in range(count):
        mean = 5.0 + torch.randn(shape, generator=generator)
        gradient = 0.2 * (mean - 5.0) + torch.randn(shape, generator=generator)
        first = (..., 0) if len(shape) == 3 else (slice(None), 0)
        gradient[first] -= 0.5 * (mean[first] - 5.0)
        steps.append([(mean, gradient)])
    return steps


@pytest.mark.parametrize("shape", [(16, 3), (16, 4, 3), (16, 3, 2, 2)])
def test_growth_is_the_oracles_t_value(shape):
    """A t value a unit and one of the whole latent, positive where the loss spreads the means."""
    steps = random_steps(20, *shape)
    truth = oracle.growth([oracle.growth_of_batch(*step[0]) for step in steps])
    t = measures.growth(grow(steps))
    np.testing.assert_allclose(t, truth, rtol=1e-4)
    assert t[0] > 2
    assert (t[1:-1] < -2).all()
    assert measures.scalars(grow(steps))["growth"] == pytest.approx(truth[-1], rel=1e-4)


@pytest.mark.parametrize("scale", [1e-8, 1.0 / 65536, 1e4])
def test_growth_does_not_depend_on_the_losss_scale(scale):
    """Averaged, summed or scaled for AMP: sign and t value stay."""
    steps = random_steps(20, 16, 3)
    scaled = [[(mean, scale * gradient)] for ((mean, gradient),) in steps]
    np.testing.assert_allclose(
        measures.growth(grow(scaled)), measures.growth(grow(steps)), rtol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_growth_of_half_precision_is_that_of_its_values(dtype):
    """Half precision means and gradients are upcast before they are multiplied."""
    steps = [[(m.to(dtype), g.to(dtype))] for ((m, g),) in random_steps(20, 16, 3)]
    truth = oracle.growth([oracle.growth_of_batch(m.double(), g.double()) for ((m, g),) in steps])
    np.testing.assert_allclose(measures.growth(grow(steps)), truth, rtol=1e-4)


def test_micro_batches_of_a_step_add_up():
    """Accumulated micro-batches are one step: with the same mean, exactly the large batch's."""
    whole, parts = [], []
    for ((mean, gradient),) in random_steps(20, 16, 3):
        left, right = mean[:8], mean[8:] + (mean[:8].mean(0) - mean[8:].mean(0))
        whole.append([(torch.cat([left, right]), gradient)])
        parts.append([(left, gradient[:8]), (right, gradient[8:])])
    ours = measures.growth(grow(parts))
    np.testing.assert_allclose(ours, measures.growth(grow(whole)), rtol=1e-4)


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_merged_windows_grow_as_one(cut):
    """The steps of both windows count, however they were split."""
    steps = random_steps(20, 16, 3)
    merged = grow(steps[:cut]).merge(grow(steps[cut:]))
    np.testing.assert_allclose(measures.growth(merged), measures.growth(grow(steps)), rtol=1e-5)


def test_growth_is_absent_without_gradients():
    """No gradient is a gap: absent among the scalars, NaN per unit, never zero."""
    steps = [[(mean, None)] for ((mean, _),) in random_steps(20, 16, 3)]
    statistics = grow(steps)
    assert "growth" not in measures.scalars(statistics)
    assert np.isnan(measures.per_unit(statistics)["growth"]).all()


@pytest.mark.parametrize("missing", [slice(0, 5), slice(None, None, 3), slice(1, None)])
def test_steps_without_a_gradient_do_not_count(missing):
    """The t value is that of the steps that had one; a single one is none."""
    steps = random_steps(20, 16, 3)
    kept = [step for i, step in enumerate(steps) if i not in range(20)[missing]]
    for step in steps[missing]:
        step[0] = (step[0][0], None)
    t = measures.growth(grow(steps))
    if len(kept) == 1:
        assert np.isnan(t).all()
    else:
        truth = oracle.growth([oracle.growth_of_batch(*step[0]) for step in kept])
        np.testing.assert_allclose(t, truth, rtol=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_steps_with_a_non_finite_gradient_are_dropped(value):
    """An overflow under AMP is left out where it stands: its unit's step and the total's."""
    steps = random_steps(20, 16, 3)
    rows = np.array([oracle.growth_of_batch(*step[0]) for step in steps])
    truth = oracle.growth(rows)
    for i in (0, 7):
        steps[i][0][1][3, 1] = value
        rows[i] = math.nan
    dropped = oracle.growth(rows[~np.isnan(rows[:, 1])])
    t = measures.growth(grow(steps))
    np.testing.assert_allclose(t[[0, 2]], truth[[0, 2]], rtol=1e-4)
    np.testing.assert_allclose(t[[1, 3]], dropped[[1, 3]], rtol=1e-4)


def test_the_gradient_of_padding_does_not_count():
    """What is masked has no say, be its gradient NaN."""
    mask = torch.arange(16) < 9
    rows, statistics = [], Statistics(1, 3)
    for ((mean, gradient),) in random_steps(20, 16, 3):
        rows.append(oracle.growth_of_batch(mean[:9], gradient[:9]))
        gradient[9:] = math.nan
        centred = statistics.update(Posterior(mean, torch.zeros_like(mean)), mask)
        statistics.add_growth(centred, gradient)
        statistics.end_step()
    np.testing.assert_allclose(measures.growth(statistics), oracle.growth(rows), rtol=1e-4)


def test_single_samples_grow_about_the_running_mean():
    """With B = 1 growth still reads the sign: each sample against the window's mean so far."""
    steps = random_steps(300, 1, 3)
    means = torch.cat([step[0][0] for step in steps]).double().numpy()
    running = np.cumsum(means, 0) / np.arange(1, 301)[:, None]
    gradients = torch.cat([step[0][1] for step in steps]).double().numpy()
    truth = oracle.growth(-(means - running) * gradients)
    t = measures.growth(grow(steps))
    np.testing.assert_allclose(t, truth, rtol=1e-4)
    assert t[0] > 2
    assert t[1] < -2
    assert t[2] < -2


def test_a_gradient_of_exactly_zero_says_nothing():
    """A detached decoder gives zeros: growth is unknown, not neutral."""
    steps = [[(mean, torch.zeros_like(mean))] for ((mean, _),) in random_steps(20, 16, 3)]
    assert np.isnan(measures.growth(grow(steps))).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_growth_without_any_noise_is_clipped(sign):
    """The same g at every step has no standard error: the t value stops at 1000."""
    mean = torch.tensor([[-1.0, -2.0], [1.0, 2.0]])
    t = measures.growth(grow([[(mean, -sign * mean)]] * 4))
    assert t.tolist() == [1000.0 * sign] * 3


# --- mutual information ---


def mutual_information(mean, log_variance, draws=1, seed=0):
    """The bound averaged over draws, and its cap."""
    generator = torch.Generator().manual_seed(seed)
    posterior = Posterior(mean, log_variance)
    found = [pairs.mutual_information(posterior, generator) for _ in range(draws)]
    bound, cap = torch.stack(found).double().mean(0).tolist()
    return bound, cap


@pytest.mark.parametrize("shape", [(2, 1), (64, 32), (256, 128), (33, 5, 7), (16, 4, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("offset", "log_variance"), [(0.0, 0.0), (0.316, -0.3), (30.0, -10.0)])
def test_mutual_information_is_exactly_zero_in_a_collapse(shape, dtype, offset, log_variance):
    """No sample noise: the same sample in both terms, in every draw."""
    mean = torch.full(shape, offset, dtype=dtype)
    for seed in range(3):
        bound, _ = mutual_information(mean, torch.full_like(mean, log_variance), seed=seed)
        assert abs(bound) < 1e-5


@pytest.mark.parametrize(("rows", "used"), [(2, 2), (50, 50), (256, 256), (400, 256)])
@pytest.mark.parametrize("log_variance", [-9.0, -18.0])
def test_mutual_information_meets_its_cap(rows, used, log_variance):
    """A sharp, informative posterior reads ln B, of 256 rows at most, and never more."""
    mean = torch.randn(rows, 16, generator=torch.Generator().manual_seed(0))
    bound, cap = mutual_information(mean, torch.full_like(mean, log_variance))
    assert cap == pytest.approx(math.log(used), rel=1e-6)
    assert bound <= cap
    assert bound == pytest.approx(cap, abs=1e-3)


@pytest.mark.parametrize(("variance", "units"), [(0.02, 1), (1.0, 1), (0.3, 4), (15.0, 1)])
def test_mutual_information_is_that_of_a_gaussian_channel(variance, units):
    """Far from the cap it is I = units / 2 ln(1 + Var mu / sigma^2), and below U."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((256, units))
    white = (white - white.mean(0)) / white.std(0)
    mean = torch.tensor(math.sqrt(variance) * white, dtype=torch.float32)
    bound, cap = mutual_information(mean, torch.zeros_like(mean), draws=100)
    truth = 0.5 * units * math.log1p(variance)
    assert truth < 0.4 * cap
    assert bound == pytest.approx(truth, rel=0.1, abs=0.01)
    assert bound <= measures.information(window(mean, torch.zeros_like(mean))).sum() + 0.02


def test_mutual_information_ignores_where_the_latent_lies():
    """An offset of 1000 changes nothing but rounding."""
    mean = torch.randn(128, 8, generator=torch.Generator().manual_seed(0))
    log_variance = torch.full_like(mean, -1.0)
    near, _ = mutual_information(mean, log_variance)
    far, _ = mutual_information(mean + 1000.0, log_variance)
    assert far == pytest.approx(near, abs=1e-3)


def test_a_large_latent_uses_fewer_rows():
    """The pairs of rows are bounded in memory; the cap says how many rows were used."""
    mean = torch.randn(128, 64, 256, generator=torch.Generator().manual_seed(0))
    bound, cap = mutual_information(mean, torch.full_like(mean, -4.0))
    assert cap == pytest.approx(0.5 * math.log(2**24 / (64 * 256)), rel=1e-6)
    assert bound == pytest.approx(cap, abs=1e-3)


def test_mutual_information_leaves_the_random_stream_alone():
    """Observing does not change the training: only our own generator is drawn from."""
    mean, log_variance = latent(64, 8)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = mutual_information(mean, log_variance, draws=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert mutual_information(mean, log_variance, draws=2) == first
    assert mutual_information(mean, log_variance, draws=2, seed=1) != first


# --- the reconstruction loss ---


def test_a_rising_loss_is_told_from_a_noisy_one():
    """The slope is held against its standard error: 200 noisy flat losses never pass t = 4,
    a rise of a tenth under the same noise always does.
    """
    rng = np.random.default_rng(0)
    climb = np.linspace(0.95, 1.05, 100)
    for _ in range(200):
        noise = 0.02 * rng.standard_normal(100)
        assert abs(measures.trend(list(50.0 * (1.0 + noise)))[1]) < 4.0
        rise, t = measures.trend(list(50.0 * (climb + noise)))
        assert t > 4.0
        assert rise == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("count", [20, 100])
def test_a_trend_is_that_of_least_squares(count):
    """Rise and t value are those of the textbook's regression."""
    losses = list(7.0 + np.random.default_rng(count).standard_normal(count))
    assert measures.trend(losses) == pytest.approx(oracle.trend(losses), rel=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_trend_is_a_share_of_the_loss(sign):
    """From 9 to 11 about a mean of 10 is a rise of a fifth, whatever the loss's sign."""
    losses = list(sign * 10.0 + np.linspace(-1.0, 1.0, 1000))
    rise, t = measures.trend(losses)
    assert rise == pytest.approx(0.2, rel=2e-3)
    assert t > 1000.0


@pytest.mark.parametrize("count", [0, 1, 19])
def test_few_losses_have_no_trend(count):
    """Below 20 losses nothing is said."""
    assert measures.trend([1.0] * count) is None


def test_a_constant_loss_does_not_rise():
    """Twenty equal losses have slope 0, with no error to divide by."""
    rise, _ = measures.trend([3.0] * 20)
    assert rise == 0.0


# --- what a check costs: counted, not timed ---


def test_a_reading_gives_what_the_statistics_give():
    """The same numbers, exactly, with and without positions."""
    for shape in ((64, 5), (16, 7, 5)):
        statistics = window(*latent(*shape))
        read = cells.reading(statistics)
        for measure in (measures.scalars, measures.dimensions, measures.samples):
            assert measure(read) == measure(statistics)
        for name, vector in measures.per_unit(statistics).items():
            np.testing.assert_array_equal(measures.per_unit(read)[name], vector)


def test_a_window_crosses_to_the_host_once(monkeypatch):
    """All measures of a check together convert two tables, the sums and the growth's."""
    statistics = window(*latent(64, 5))
    crossings = []
    numpy = torch.Tensor.numpy
    monkeypatch.setattr(torch.Tensor, "numpy", lambda t: crossings.append(t.shape) or numpy(t))
    read = cells.reading(statistics)
    for measure in (measures.scalars, measures.per_unit, measures.dimensions):
        measure(read)
    assert crossings == [(11, 1, 5), (4, 6)]


def test_a_judged_window_crosses_to_the_host_once(monkeypatch):
    """So does a whole judgement, alerts and limits included."""
    snapshot = Snapshot({"z": Seen(window(*latent(64, 5)))})
    crossings = []
    numpy = torch.Tensor.numpy
    monkeypatch.setattr(torch.Tensor, "numpy", lambda t: crossings.append(t.shape) or numpy(t))
    Judge(Rules()).report(snapshot, 50, 50)
    assert crossings == [(11, 1, 5), (4, 6)]


def test_a_measure_is_computed_once_a_reading():
    """The same array comes back; of statistics, which change, a new one."""
    statistics = window(*latent(64, 5))
    read = cells.reading(statistics)
    assert measures.information(read) is measures.information(read)
    assert measures.per_unit(read)["kl"] is measures.kl(read)
    before = measures.information(statistics)
    statistics.update(Posterior(*latent(64, 5, seed=9)))
    assert not np.array_equal(measures.information(statistics), before)
    np.testing.assert_array_equal(measures.information(read), before)
