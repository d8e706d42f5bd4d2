"""The sums of a window: exact whatever their offset, type, split, order, mask or place."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_logging import cells, measures
from collapse_logging.posterior import Posterior
from collapse_logging.statistics import LOG_VARIANCE_LIMIT, MAX_CELLS, Statistics
from tests import oracle

MEASURES = ("information", "kl", "mean_variance", "posterior_variance")
thorough = settings(max_examples=40, deadline=None, derandomize=True)


def window(*batches, positions=1):
    """Statistics of batches ``(mean, log_variance)`` or ``(mean, log_variance, mask)``."""
    statistics = Statistics(positions, batches[0][0].shape[1 if batches[0][0].ndim == 4 else -1])
    for mean, log_variance, *mask in batches:
        statistics.update(Posterior(mean, log_variance), *mask)
    return statistics


def readings(statistics):
    """Every per-unit measure of the sums, and how many samples and degrees of freedom."""
    values = {name: getattr(measures, name)(statistics) for name in MEASURES}
    values["within"] = measures.within_batch_variance(statistics)
    values["count"] = cells.count(statistics)
    return values


def assert_same(left, right, rtol=1e-5, atol=1e-7):
    """The two windows read the same in every measure."""
    left, right = readings(left), readings(right)
    for name, value in left.items():
        np.testing.assert_allclose(value, right[name], rtol, atol, err_msg=name)


def assert_true(statistics, mean, log_variance, mask=None, rtol=1e-5, atol=1e-7):
    """The window reads what the oracle computes from the samples themselves."""
    truth = oracle.measures(mean, log_variance, mask)
    for name in MEASURES:
        ours = getattr(measures, name)(statistics)
        np.testing.assert_allclose(ours, truth[name], rtol, atol, err_msg=name)


def samples(seed, *shape, offset=0.0, scale=1.0):
    """Means and log variances of every sharpness, in fp32."""
    generator = torch.Generator().manual_seed(seed)
    mean = offset + scale * torch.randn(shape, generator=generator)
    return mean, torch.randn(shape, generator=generator) - 1.5


# --- numerics: science.md, section 5 ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_upcast_before_any_arithmetic(dtype):
    """Near collapse the KL of bf16 inputs is that of the rounded values, where arithmetic in
    bf16 itself is several times off.
    """
    mean = (0.02 * torch.randn(512, 8, generator=torch.Generator().manual_seed(0))).to(dtype)
    log_variance = torch.linspace(-0.1, -0.02, 8).expand(512, 8).to(dtype)
    truth = oracle.measures(mean.double(), log_variance.double())["kl"]
    assert truth.max() < 0.01
    read = measures.kl(window((mean, log_variance)))
    np.testing.assert_allclose(read, truth, rtol=1e-5)
    if dtype is torch.bfloat16:  # the control: what this test would catch
        naive = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).mean(0)
        assert (naive.double().numpy() < truth / 3.0).any()


@pytest.mark.parametrize(
    ("offset", "scale"), [(10.0, 0.01), (100.0, 0.01), (1000.0, 0.01), (-1000.0, 1e-3), (0.0, 1e-6)]
)
def test_a_far_mean_does_not_drown_a_tiny_variance(offset, scale):
    """Var mu is right to 1e-5 at mean 10 and sd 0.01, where E[x^2] - E[x]^2 in fp32 is 54 % off."""
    mean, log_variance = samples(0, 1024, 4, offset=offset, scale=scale)
    statistics = window(*zip(mean.split(64), log_variance.split(64), strict=True))
    assert_true(statistics, mean, log_variance, atol=0.0)
    if offset >= 100.0:  # the control
        naive = (mean * mean).mean(0) - mean.mean(0) ** 2
        assert (naive / mean.double().var(0, unbiased=False) - 1.0).abs().max() > 0.1


def test_a_far_mean_is_right_in_the_next_window_too():
    """After a reset the sums are taken about the mean of the last window."""
    mean, log_variance = samples(1, 256, 4, offset=1000.0, scale=0.01)
    statistics = window((mean, log_variance))
    statistics.reset()
    later = mean + 0.003
    statistics.update(Posterior(later, log_variance))
    assert_true(statistics, later, log_variance)


def test_two_windows_after_a_jump_all_is_as_exact_as_ever():
    """The shifts follow the latent from window to window, wherever it has moved to."""
    mean, log_variance = samples(17, 64, 4)
    statistics = window((mean, log_variance))
    statistics.reset()
    mean, log_variance = 1000.0 + 0.01 * mean, log_variance - 16.0
    for _ in range(2):
        statistics.update(Posterior(mean, log_variance))
        statistics.reset()
    statistics.update(Posterior(mean, log_variance))
    assert_true(statistics, mean, log_variance, atol=0.0)


@pytest.mark.parametrize("log_variance", [-18.0, -10.0, -0.3, 0.0, 3.0])
def test_a_constant_posterior_variance_is_right_to_1e_5(log_variance):
    """A sharp posterior, ln sigma^2 = -18, keeps its digits just as a collapsed one at 0 does."""
    mean, _ = samples(2, 64, 4)
    statistics = window((mean, torch.full_like(mean, log_variance)))
    np.testing.assert_allclose(
        measures.posterior_variance(statistics), math.exp(log_variance), rtol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 0.316, -1000.1, 3e4])
@pytest.mark.parametrize("batches", [1, 7])
def test_a_constant_unit_has_no_variance(value, batches):
    """The variance of a unit that never moves is 0 and never below: no rounding makes it alive."""
    mean = torch.full((33, 3), value)
    statistics = window(*[(mean, torch.zeros_like(mean))] * batches)
    variance = measures.mean_variance(statistics)
    assert (variance >= 0.0).all()
    assert (variance <= 1e-12 * max(value**2, 1.0)).all()
    assert (cells.within_batch_variance(statistics) >= 0.0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [1000.0, -1000.0])
def test_an_extreme_log_variance_is_clamped_and_counted(dtype, value):
    """Exp never overflows: what is beyond +-30 counts as +-30, and how many were is said."""
    mean, log_variance = (t.to(dtype) for t in samples(3, 16, 3))
    log_variance[:5, 1] = value
    statistics = window((mean, log_variance))
    assert cells.clamped(statistics) == 5
    assert cells.nonfinite(statistics) == 0
    clamped = log_variance.double().clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
    assert_true(statistics, mean.double(), clamped)


def test_a_log_variance_at_the_limit_is_not_clamped():
    """30 itself is still read as it is."""
    mean = torch.zeros(4, 2)
    assert cells.clamped(window((mean, torch.full_like(mean, LOG_VARIANCE_LIMIT)))) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["mean", "log_variance"])
def test_a_non_finite_element_is_masked_and_counted(value, where):
    """It is left out where it stands, and no other unit nor sample notices."""
    mean, log_variance = samples(4, 64, 3)
    clean = window((mean[:32], log_variance[:32]), (mean[32:], log_variance[32:]))
    poisoned = {"mean": mean.clone(), "log_variance": log_variance.clone()}
    poisoned[where][[3, 40, 41], 1] = value
    mean, log_variance = poisoned["mean"], poisoned["log_variance"]
    statistics = window((mean[:32], log_variance[:32]), (mean[32:], log_variance[32:]))
    assert cells.nonfinite(statistics) == 3
    assert cells.count(statistics).tolist() == [[64, 61, 64]]
    ours, truth = readings(statistics), readings(clean)
    for name in MEASURES:
        assert ours[name][[0, 2]].tolist() == truth[name][[0, 2]].tolist()
        assert math.isfinite(ours[name][1])
    expected = oracle.measures(mean, log_variance)
    np.testing.assert_allclose(ours["mean_variance"], expected["mean_variance"], rtol=1e-5)


def test_a_unit_that_is_never_finite_does_not_hide_the_others():
    """Its own readings are unknown; the totals are those of the units that can be read."""
    mean, log_variance = samples(5, 64, 3)
    kept = [0, 2]
    truth = measures.scalars(window((mean[:, kept], log_variance[:, kept])))
    mean[:, 1] = math.nan
    values = measures.scalars(window((mean, log_variance)))
    assert values["nonfinite"] == 64
    assert values["information"] == pytest.approx(truth["information"], rel=1e-6)
    assert values["kl"] == pytest.approx(truth["kl"], rel=1e-6)
    assert values["posterior_variance"] == pytest.approx(truth["posterior_variance"], rel=1e-6)


def test_a_unit_beyond_fp32_does_not_report_a_finite_number():
    """Means of 1e20, whose squares overflow, read infinite: a gap in the curves and not a value of
    1.8e308; the other units read as ever.
    """
    mean, log_variance = samples(5, 64, 3)
    truth = measures.kl(window((mean, log_variance)))
    mean[:, 1] *= 1e20
    statistics = window((mean, log_variance))
    for measure in (measures.information, measures.kl):
        assert np.isfinite(measure(statistics)).tolist() == [True, False, True]
    np.testing.assert_allclose(measures.kl(statistics)[[0, 2]], truth[[0, 2]], rtol=1e-6)


def test_the_first_batch_may_miss_a_unit():
    """Cells first filled by a later batch (padding, NaN) are as exact as those of the first."""
    mean, _ = samples(6, 256, 2, 3, offset=10.0, scale=0.01)
    log_variance = torch.full_like(mean, -18.0)
    mask = torch.ones(256, 2, dtype=torch.bool)
    mask[:64, 1] = False
    batches = zip(mean.split(64), log_variance.split(64), mask.split(64), strict=True)
    statistics = window(*batches, positions=2)
    assert_true(statistics, mean, log_variance, mask)


def test_an_empty_first_batch_changes_nothing():
    """A batch without samples is counted 0, and the next one is read as if it were the first."""
    mean, _ = samples(7, 64, 3, offset=10.0, scale=0.01)
    log_variance = torch.full_like(mean, -18.0)
    statistics = window((mean[:0], log_variance[:0]), (mean, log_variance))
    assert_same(statistics, window((mean, log_variance)))


def test_a_log_variance_that_jumps_between_windows_is_read_without_a_warning():
    """From collapsed to very sharp in one window: the information is right, nothing warns."""
    mean, _ = samples(8, 64, 3)
    statistics = window((mean, torch.zeros_like(mean)))
    statistics.reset()
    sharp = torch.full_like(mean, -20.0)
    statistics.update(Posterior(mean, sharp))
    truth = oracle.measures(mean, sharp)["information"]
    np.testing.assert_allclose(measures.information(statistics), truth, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5), (1, 2, 5), (1, 5, 2, 2)])
def test_single_samples_make_a_window(shape):
    """Batches of one contribute to the window like any other; within a batch there is nothing."""
    mean, log_variance = samples(9, 32, *shape[1:])
    positions = Posterior(mean, log_variance).positions_and_units[0]
    statistics = window(
        *zip(mean.split(1), log_variance.split(1), strict=True), positions=positions
    )
    assert_true(statistics, mean, log_variance)
    assert np.isnan(measures.within_batch_variance(statistics)).all()
    assert measures.samples(statistics) == 32


def test_a_drifting_bias_is_not_taken_for_life():
    """A dead unit whose bias moves from 0 to 1 varies in total, but not within its batches."""
    generator = torch.Generator().manual_seed(10)
    bias = torch.linspace(0.0, 1.0, 50)[:, None, None]
    mean = bias + 0.05 * torch.randn(50, 64, 1, generator=generator)
    statistics = window(*[(batch, torch.zeros_like(batch)) for batch in mean])
    assert measures.mean_variance(statistics)[0] == pytest.approx(0.09, abs=0.005)
    assert measures.within_batch_variance(statistics)[0] == pytest.approx(0.0025, rel=0.05)
    assert measures.drifts(statistics)


def test_one_subject_a_batch_shows_between_batches():
    """Batches of one subject each vary little within and much in total, as the oracle says."""
    generator = torch.Generator().manual_seed(11)
    subjects = torch.randn(40, 1, 2, generator=generator)
    mean = subjects + 0.1 * torch.randn(40, 16, 2, generator=generator)
    statistics = window(*[(batch, torch.zeros_like(batch)) for batch in mean])
    within = measures.within_batch_variance(statistics)
    np.testing.assert_allclose(within, oracle.within_batch_variance(mean), rtol=1e-5)
    assert (within < 0.02).all()
    assert (measures.mean_variance(statistics) > 0.5).all()
    assert measures.drifts(statistics)


@pytest.mark.parametrize(("between", "drifts"), [(0.9, False), (1.1, True)])
def test_a_drift_is_more_than_half_of_the_variance(between, drifts):
    """Variance between batches that is as large as that within them is where it begins."""
    inner = torch.tensor([-1.0, 1.0]).repeat(500)[:, None]
    shift = math.sqrt(between)
    statistics = window(*[(inner + sign * shift, inner * 0.0) for sign in (1.0, -1.0)])
    assert measures.drifts(statistics) is drifts


def test_a_steady_latent_does_not_drift():
    """Batches drawn alike vary within as in total."""
    batches = [samples(seed, 64, 3) for seed in range(10)]
    assert not measures.drifts(window(*batches))


def test_each_position_has_its_own_mean():
    """A position code, constant over samples, is no variance: positions are read one by one."""
    code = torch.linspace(-5.0, 5.0, 6).reshape(1, 6, 1).expand(64, 6, 2)
    noise, log_variance = samples(12, 64, 6, 2, scale=0.01)
    statistics = window((code + noise, log_variance), positions=6)
    assert (measures.mean_variance(statistics) < 2e-4).all()
    assert_true(statistics, code + noise, log_variance)


# --- masks, lengths, sizes ---


@pytest.mark.parametrize("by", ["sample", "position"])
@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.int64])
def test_a_mask_leaves_the_padding_out(by, kind):
    """What is masked, NaN even, enters no sum and is not counted as non-finite."""
    mean, log_variance = samples(13, 64, 5, 3)
    lengths = torch.arange(64) % 5 + 1
    mask = torch.arange(5) < lengths[:, None] if by == "position" else lengths > 2
    full = mask if by == "position" else mask[:, None].expand(64, 5)
    padded = mean.clone(), log_variance.clone()
    padded[0][~full], padded[1][~full] = math.nan, 1000.0
    statistics = window((*padded, mask.to(kind)), positions=5)
    assert cells.nonfinite(statistics) == cells.clamped(statistics) == 0
    np.testing.assert_array_equal(cells.count(statistics)[:, 0], full.sum(0))
    assert_true(statistics, mean, log_variance, full)


def test_an_image_is_masked_by_pixel():
    """The mask of [batch, channels, height, width] is [batch, height x width]."""
    mean, log_variance = samples(14, 32, 3, 2, 4)
    mask = torch.rand(32, 8, generator=torch.Generator().manual_seed(0)) < 0.7
    statistics = window((mean, log_variance, mask), positions=8)
    assert_true(statistics, mean, log_variance, mask)


@pytest.mark.parametrize("lengths", [(3, 7, 5), (7, 3, 3), (1, 2, 9)])
def test_sequences_of_changing_length_share_a_window(lengths):
    """Each position is read over the samples that reach it."""
    batches = [samples(i, 16, length, 2, offset=3.0) for i, length in enumerate(lengths)]
    statistics = window(*batches, positions=lengths[0])
    room = [torch.zeros(16, max(lengths), 2) for _ in range(6)]
    mask = torch.zeros(48, max(lengths), dtype=torch.bool)
    for i, (mean, log_variance) in enumerate(batches):
        room[i][:, : lengths[i]] = mean
        room[3 + i][:, : lengths[i]] = log_variance
        mask[16 * i : 16 * (i + 1), : lengths[i]] = True
    assert_true(statistics, torch.cat(room[:3]), torch.cat(room[3:]), mask)


LARGE = [(1, 70_000), (2, 40_000), (3, 40_000), (256, 768), (131, 1000), (512, 512)]
"""Latents of more cells than are kept, among them the 16 x 16 patches of a ViT."""


@pytest.mark.parametrize(("positions", "units"), LARGE)
def test_a_large_latent_is_read_in_part_but_weighed_in_full(positions, units):
    """Every k-th position stands for k: the total information is that of the whole latent."""
    generator = torch.Generator().manual_seed(15)
    mean = torch.randn(4, positions, units, generator=generator)
    statistics = window((mean, torch.zeros_like(mean)), positions=positions)
    truth = 0.5 * np.log1p(mean.double().var(0, unbiased=False).numpy()).sum()
    assert measures.information(statistics).sum() == pytest.approx(truth, rel=0.02)
    assert measures.dimensions(statistics) == pytest.approx(positions * units, rel=0.02)
    assert statistics.sums[0].numel() <= max(MAX_CELLS, units)


@pytest.mark.parametrize(("positions", "units"), LARGE)
def test_a_large_latent_packs_and_merges(positions, units):
    """What is packed is unpacked and what is alike is merged, however large the latent is."""
    mean = torch.arange(4.0).reshape(4, 1, 1).expand(4, positions, units)
    statistics = window((mean, torch.zeros_like(mean)), positions=positions)
    again = Statistics.unpack(statistics.pack(), statistics.shape)
    assert again.shape == statistics.shape
    assert torch.equal(again.pack(), statistics.pack())
    merged = statistics.merge(again)
    assert merged.shape == statistics.shape
    np.testing.assert_allclose(measures.mean_variance(merged), 1.25, rtol=1e-6)


# --- splitting, merging, packing ---


@thorough
@given(
    seed=st.integers(0, 2**16),
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(lambda s: sum(s) > 1),
    positions=st.integers(1, 3),
    units=st.integers(1, 4),
    offset=st.sampled_from([0.0, 1.0, -300.0]),
    carried=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_merged_windows_are_one_window(seed, sizes, positions, units, offset, carried):
    """However the batches are dealt out, empty windows and other shifts included, the merge
    reads as one window over all of them.
    """
    mean, log_variance = samples(seed, sum(sizes), positions, units, offset=offset)
    batches = list(zip(mean.split(sizes), log_variance.split(sizes), strict=True))
    merged = Statistics(positions, units)
    for batch, has_history in zip(batches, carried, strict=False):
        part = Statistics(positions, units)
        if has_history:  # its sums are taken about another window's mean
            part.update(Posterior(batch[0][:1] + 2.0, batch[1][:1] - 1.0))
            part.reset()
        part.update(Posterior(*batch))
        merged = merged.merge(part)
    whole = window(*batches, positions=positions)
    assert_same(merged, whole)
    assert_true(merged, mean, log_variance)


@thorough
@given(seed=st.integers(0, 2**16), left=st.integers(1, 20), right=st.integers(1, 20))
def test_merging_does_not_depend_on_the_order(seed, left, right):
    """A with B is B with A."""
    one = window(samples(seed, left, 3))
    two = window(samples(seed + 1, right, 3, offset=5.0))
    assert_same(one.merge(two), two.merge(one))


@thorough
@given(seed=st.integers(0, 2**16), order=st.permutations(range(24)), size=st.integers(1, 24))
def test_the_order_of_samples_does_not_matter(seed, order, size):
    """Shuffled samples, cut into batches of any size, are the same window."""
    mean, log_variance = samples(seed, 24, 3, offset=2.0)
    shuffled = mean[list(order)].split(size), log_variance[list(order)].split(size)
    statistics = window(*zip(*shuffled, strict=True))
    assert_true(statistics, mean, log_variance)


@thorough
@given(
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    other=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_any_floating_type_is_read_as_its_values(seed, dtype, other):
    """Types, mixed even, change nothing but the values that they can hold."""
    mean, log_variance = samples(seed, 48, 3)
    mean, log_variance = mean.to(dtype), log_variance.to(other)
    statistics = window((mean, log_variance))
    assert statistics.sums.dtype == torch.float32
    assert_true(statistics, mean.double(), log_variance.double())


def test_a_merge_leaves_both_windows_as_they_were():
    """Merging makes a third value."""
    one, two = window(samples(0, 8, 3)), window(samples(1, 9, 3))
    before = one.pack(), two.pack()
    one.merge(two)
    assert torch.equal(one.pack(), before[0])
    assert torch.equal(two.pack(), before[1])


def test_windows_of_different_lengths_merge():
    """The shorter sequence's window counts 0 where it has no positions."""
    long, short = samples(0, 16, 5, 2, offset=3.0), samples(1, 16, 3, 2, offset=3.0)
    parts = window(long, positions=5), window(short, positions=3)
    whole = window(long, short, positions=5)
    assert_same(parts[0].merge(parts[1]), whole)
    assert_same(parts[1].merge(parts[0]), whole)


def test_merging_adds_what_could_not_be_read():
    """Non-finite and clamped elements are counted over both windows."""
    mean, log_variance = samples(0, 8, 2)
    mean[0, 0], log_variance[1:3, 1] = math.nan, 99.0
    statistics = window((mean, log_variance))
    merged = statistics.merge(statistics)
    assert (cells.nonfinite(merged), cells.clamped(merged)) == (2, 4)


def test_merging_different_units_is_refused():
    """Only windows of one latent can be added up."""
    with pytest.raises(ValueError, match=r"expected statistics of 3 units, got 4; .*same latent"):
        Statistics(1, 3).merge(Statistics(1, 4))


@pytest.mark.parametrize(("positions", "units"), [(1, 1), (1, 7), (5, 3)])
def test_packing_loses_nothing(positions, units):
    """The packed vector, of the length that the shape says, holds every sum."""
    statistics = window(samples(0, 16, positions, units), positions=positions)
    for step in range(3):
        statistics.add_growth(torch.ones(2, positions, units), torch.full((2, units), 1.0 + step))
        statistics.end_step()
    vector = statistics.pack()
    assert vector.dtype == torch.float32
    assert vector.shape == (statistics.shape.size,)
    again = Statistics.unpack(vector, statistics.shape)
    assert torch.equal(again.sums, statistics.sums)
    assert torch.equal(again.growth_sums, statistics.growth_sums)
    again.reset()
    assert torch.equal(vector, statistics.pack())  # the vector was copied


def test_an_unpacked_window_goes_on():
    """A window that was saved in the middle ends as if it had not been."""
    first, second = samples(0, 16, 3, offset=50.0), samples(1, 16, 3, offset=50.0)
    statistics = window(first)
    again = Statistics.unpack(statistics.pack(), statistics.shape)
    again.update(Posterior(*second))
    assert_same(again, window(first, second))


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_vector_of_another_length_is_refused(extra):
    """The error says how many values were expected, for which shape, and how many came."""
    shape = Statistics(2, 3).shape
    words = rf"expected {shape.size} values for 2 positions of 3 units, got {shape.size + extra}"
    with pytest.raises(ValueError, match=words):
        Statistics.unpack(torch.zeros(shape.size + extra), shape)


def test_a_reset_window_holds_nothing():
    """After a reset the next window's readings are its own alone."""
    statistics = window(samples(0, 16, 3, offset=4.0))
    statistics.add_growth(torch.ones(2, 1, 3), torch.ones(2, 3))
    statistics.end_step()
    statistics.reset()
    assert measures.samples(statistics) == 0
    assert cells.growth_steps(statistics)[2].tolist() == [0, 0, 0, 0]
    mean, log_variance = samples(1, 16, 3, offset=-4.0)
    statistics.update(Posterior(mean, log_variance))
    assert_true(statistics, mean, log_variance)


def test_inputs_are_left_alone():
    """Neither tensor is written to, also where something is clamped or masked."""
    mean, log_variance = samples(0, 16, 3)
    mean[0, 0], log_variance[1, 1] = math.nan, 1000.0
    before = mean.clone(), log_variance.clone()
    window((mean, log_variance, torch.arange(16) < 9))
    torch.testing.assert_close((mean, log_variance), before, rtol=0, atol=0, equal_nan=True)


def test_no_graph_is_kept():
    """Statistics of tensors that require a gradient do not hold on to their graph."""
    mean, log_variance = (t.requires_grad_() for t in samples(0, 16, 3))
    statistics = window((2.0 * mean, log_variance))
    centred = statistics.update(Posterior(2.0 * mean, log_variance))
    assert not centred.requires_grad
    assert not statistics.pack().requires_grad


def test_sums_made_in_inference_mode_can_be_updated():
    """A latent first met in validation (inference mode) is still a latent in training."""
    with torch.inference_mode():
        statistics = window(samples(0, 16, 3, 2), positions=3)
        statistics.update(Posterior(*samples(1, 16, 5, 2)))  # more positions: new cells
    statistics.update(Posterior(*samples(2, 16, 5, 2)))
    statistics.reset()
    assert measures.samples(statistics) == 0


# --- what add_growth is given ---


@pytest.mark.parametrize("shape", [(8, 3), (8, 4, 3), (8, 3, 2, 2)])
def test_update_returns_the_means_centred_by_position(shape):
    """[batch, positions, units], each position about its own mean over the batch."""
    mean, log_variance = samples(0, *shape, offset=7.0)
    posterior = Posterior(mean, log_variance)
    centred = Statistics(*posterior.positions_and_units).update(posterior)
    by_position = oracle.by_position(mean)
    np.testing.assert_allclose(centred, by_position - by_position.mean(0), atol=1e-5)


def test_masked_samples_are_centred_at_zero():
    """Padding has no say in growth: the mean is that of the real samples."""
    mean, log_variance = samples(0, 8, 3)
    mask = torch.arange(8) < 5
    centred = Statistics(1, 3).update(Posterior(mean, log_variance), mask)[:, 0]
    assert (centred[5:] == 0).all()
    torch.testing.assert_close(centred[:5], mean[:5] - mean[:5].mean(0))


def test_a_single_sample_is_centred_on_the_running_mean():
    """With B = 1 the mean is that of the window so far, the sample itself included."""
    mean, log_variance = samples(0, 10, 3, offset=7.0)
    statistics = Statistics(1, 3)
    for i in range(10):
        centred = statistics.update(Posterior(mean[i : i + 1], log_variance[i : i + 1]))
        running = mean[: i + 1].double().mean(0)
        np.testing.assert_allclose(centred[0, 0], mean[i] - running, atol=1e-5)
