"""Families beside the Gaussian against closed forms, torch's own KL and float64 oracles."""

import math

import numpy as np
import pytest
import torch
from torch import distributions
from torch.distributions import kl_divergence

from collapse_logging import CollapseMonitor, Rules
from collapse_logging.families import Bernoulli, Categorical, Codebook, family_of
from collapse_logging.family_statistics import FamilyStatistics, unpacked
from collapse_logging.limits import limits_of
from collapse_logging.pooled import Pool, shape_of
from collapse_logging.taken import take
from collapse_logging.window import Window

from .parts import recorded, warnings_in
from .test_hot_path import NothingWaits, OneDevice


def taken(*batches, mask=None):
    """Scalars and per-unit measures of batches in one window."""
    statistics = FamilyStatistics.of(batches[0])
    for batch in batches:
        statistics.update(batch, mask)
    found = take(statistics)
    return found.scalars, found.per_unit


def entropy(p, axis=-1):
    """Of probabilities, in nats, by the definition."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.where(p > 0, p * np.log(p), 0.0).sum(axis)


def logits(*shape, seed=0, scale=1.0):
    """Random parameters."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- categorical ---


@pytest.mark.parametrize("shape", [(64, 5), (64, 3, 5), (64, 4, 3, 5)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_categorical_information_and_kl_are_the_entropies_differences(shape, scale):
    """I = H(mean q) - mean H(q), KL = ln K - mean H(q), summed over units and positions."""
    parameters = logits(*shape, scale=scale)
    scalars, per_unit = taken(Categorical(parameters))
    q = parameters.double().softmax(-1).numpy()
    information = entropy(q.mean(0)) - entropy(q).mean(0)
    paid = math.log(5) - entropy(q).mean(0)
    assert scalars["information"] == pytest.approx(information.sum(), rel=1e-3)
    assert scalars["kl"] == pytest.approx(paid.sum(), rel=1e-3)
    assert scalars["mismatch"] == pytest.approx((paid - information).sum(), rel=0.05)
    units = 1 if len(shape) == 2 else shape[-2]
    expected = information.reshape(-1, units).sum(0)
    np.testing.assert_allclose(per_unit["information"], expected, rtol=1e-3)
    perplexity = np.exp(entropy(q.mean(0))).reshape(-1, units).mean(0)
    np.testing.assert_allclose(per_unit["perplexity"], perplexity, rtol=1e-5)


def test_a_categorical_that_collapses_or_says_all_reads_its_limits():
    """All samples at the prior: 0 nats and all classes; one class each, all equally: ln K."""
    collapsed, _ = taken(Categorical(torch.zeros(60, 6)))
    assert collapsed["information"] == collapsed["kl"] == 0.0
    assert collapsed["perplexity"] == pytest.approx(6.0)
    sharp = torch.nn.functional.one_hot(torch.arange(60) % 6, 6).float()
    for batch in (Categorical(1e4 * sharp), Categorical(sharp, probabilities=True)):
        told, _ = taken(batch)
        assert told["information"] == pytest.approx(math.log(6), rel=1e-6)
        assert told["kl"] == pytest.approx(math.log(6), rel=1e-6)


def test_classes_that_are_ruled_out_are_read():
    """Logits of -inf are probabilities of 0, not something unread; NaN is."""
    parameters = logits(32, 4)
    parameters[:, 0] = -torch.inf
    scalars, _ = taken(Categorical(parameters))
    q = parameters.double().softmax(-1).numpy()
    assert scalars["information"] == pytest.approx(entropy(q.mean(0)) - entropy(q).mean(), rel=1e-4)
    assert "nonfinite" not in scalars
    parameters[3] = torch.nan
    scalars, _ = taken(Categorical(parameters))
    assert (scalars["nonfinite"], scalars["samples"]) == (1.0, 31.0)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_kl_is_that_to_the_prior_that_is_given(conditional):
    """As torch has it; and information is at most the KL, which a conditional prior may lower."""
    parameters = logits(128, 3, 5)
    prior = logits(128, 3, 5, seed=1) if conditional else logits(5, seed=1)
    q, p = distributions.OneHotCategorical(logits=parameters), logits_of(prior)
    scalars, _ = taken(family_of(q, p))
    assert scalars["kl"] == pytest.approx(kl_divergence(q, p).mean(0).sum().item(), rel=1e-5)
    same, _ = taken(family_of(q, q))
    assert same["information"] == same["kl"] == pytest.approx(0.0, abs=1e-6)


def logits_of(tensor):
    """A distribution over classes with these logits."""
    return distributions.OneHotCategorical(logits=tensor)


def test_what_is_masked_is_not_there():
    """Padding of sequences counts for nothing, whatever stands in it."""
    parameters, mask = logits(16, 6, 1, 4), torch.arange(6) < torch.arange(16).unsqueeze(1) % 6 + 1
    padded = parameters.masked_fill(~mask[..., None, None], torch.nan)
    scalars, _ = taken(Categorical(padded), mask=mask)
    q = parameters.double().softmax(-1).numpy()[:, :, 0]
    by_position = [
        (entropy(q[m, t].mean(0)) - entropy(q[m, t]).mean()) * m.sum() / 16
        for t, m in enumerate(mask.T.numpy())
    ]
    assert scalars["information"] == pytest.approx(sum(by_position), rel=1e-4)
    assert "nonfinite" not in scalars


# --- Bernoulli ---


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_bernoulli_is_a_categorical_of_two_classes(scale):
    """The same numbers, by other formulas, also with a prior."""
    parameters, prior = logits(64, 7, scale=scale), logits(7, seed=1)
    two = torch.stack([parameters, torch.zeros_like(parameters)], -1)
    log_prior = torch.stack([prior, torch.zeros_like(prior)], -1).expand_as(two)
    given = prior.expand_as(parameters)
    got, _ = taken(Bernoulli(parameters, given))
    expected, _ = taken(Categorical(two, log_prior))
    for name in ("information", "kl", "perplexity"):
        assert got[name] == pytest.approx(expected[name], rel=1e-3)
    q, p = (distributions.Bernoulli(logits=tensor) for tensor in (parameters, given))
    assert got["kl"] == pytest.approx(kl_divergence(q, p).mean(0).sum().item(), rel=1e-3)


def test_a_binary_latent_reads_its_limits():
    """At one half: nothing; half of the samples sure of one, half of the other: ln 2 a unit."""
    assert taken(Bernoulli(torch.zeros(8, 3)))[0]["information"] == 0.0
    sure = torch.tensor([1.0, 0.0]).repeat(8).unsqueeze(1).repeat(1, 3)
    scalars, _ = taken(Bernoulli(sure, probabilities=True))
    assert scalars["information"] == pytest.approx(3 * math.log(2), rel=1e-5)


# --- which family a distribution is of ---


def test_torch_distributions_find_their_family():
    """Also relaxed, one-hot and independent ones; growth only where the sample has a gradient."""
    one, t = logits(8, 3, 5), torch.tensor(0.7)
    d = distributions
    cases = [
        (d.Categorical(logits=one), Categorical, False),
        (d.OneHotCategorical(probs=one.softmax(-1)), Categorical, False),
        (d.OneHotCategoricalStraightThrough(logits=one), Categorical, True),
        (d.RelaxedOneHotCategorical(t, logits=one), Categorical, True),
        (d.Independent(d.OneHotCategorical(logits=one), 1), Categorical, False),
        (d.Bernoulli(probs=one.sigmoid()), Bernoulli, False),
        (d.RelaxedBernoulli(t, logits=one), Bernoulli, True),
        (d.Independent(d.Bernoulli(logits=one), 1), Bernoulli, False),
    ]
    expected = {kind: taken(kind(one))[0]["information"] for kind in (Categorical, Bernoulli)}
    for distribution, kind, grows in cases:
        family = family_of(distribution)
        assert (type(family), family.grows) == (kind, grows)
        assert taken(family)[0]["information"] == pytest.approx(expected[kind], rel=1e-4)
    assert family_of(d.Normal(one, 1.0)) is None


@pytest.mark.parametrize(
    ("distribution", "prior", "error", "words"),
    [
        (logits_of(torch.zeros(2, 3, 4, 5, 6)), None, ValueError, r"type, got \[2, 3, 4, 5, 6\]"),
        (logits_of(torch.zeros(5)), None, ValueError, r"got \[5\]"),
        (
            logits_of(torch.zeros(9, 5)),
            distributions.Bernoulli(torch.tensor(0.5)),
            TypeError,
            "expected a prior of the posterior's kind, Categorical, got Bernoulli",
        ),
        (
            logits_of(torch.zeros(9, 5)),
            logits_of(torch.zeros(6)),
            ValueError,
            r"\[9, 5\], got \[6\]",
        ),
        (
            Codebook(torch.zeros(9).long(), 4),
            logits_of(torch.zeros(6)),
            TypeError,
            "a Codebook alone",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(distribution, prior, error, words):
    """With expected, got and how to mend."""
    monitor, _ = recorded()
    with pytest.raises(error, match=words):
        monitor.observe("z", distribution, prior=prior)


# --- codebooks ---


def told(counts):
    """What a codebook says whose codes were picked so often."""
    indices = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return taken(Codebook(indices, len(counts)))[0]


def test_a_balanced_codebook_is_used_in_full_and_one_code_is_nothing():
    """Many tokens, evenly: perplexity K; all on one code: 1, no information, the others dead."""
    full = told([1000] * 8)
    assert full["perplexity"] == pytest.approx(8.0, rel=1e-3)
    assert full["information"] == pytest.approx(math.log(8), rel=1e-3)
    assert (full["usage"], full["dead_codes"]) == (1.0, 0.0)
    single = told([5000, 0, 0, 0, 0, 0, 0, 0])
    assert (single["information"], single["perplexity"]) == (0.0, 1.0)
    assert single["dead_codes"] == pytest.approx(7.0)
    assert single["usage"] == pytest.approx(1 / 8)


@pytest.mark.parametrize(("tokens", "raw", "least"), [(2560, 461, 500), (10_000, 499, 509)])
def test_the_perplexity_of_few_tokens_has_its_bias_removed(tokens, raw, least):
    """512 codes that are used evenly read 461 of 2,560 tokens without the correction."""
    indices = torch.randint(512, (tokens,), generator=torch.Generator().manual_seed(0))
    share = np.bincount(indices.numpy(), minlength=512) / tokens
    assert np.exp(entropy(share)) == pytest.approx(raw, abs=5)
    scalars = taken(Codebook(indices, 512))[0]
    assert least < scalars["perplexity"] <= 512
    assert scalars["dead_codes"] < 3


def test_codes_that_chance_left_out_are_not_dead():
    """64 tokens cannot use 512 codes; only what exceeds chance is counted."""
    indices = torch.randint(512, (64,), generator=torch.Generator().manual_seed(0))
    assert taken(Codebook(indices, 512))[0]["dead_codes"] < 10
    half = torch.randint(256, (6400,), generator=torch.Generator().manual_seed(0))
    assert taken(Codebook(half, 512))[0]["dead_codes"] == pytest.approx(256, abs=1)


def test_each_quantizer_of_a_residual_vq_is_a_unit():
    """Wherever their axis is; positions are tokens of the same codebook."""
    indices = torch.stack([torch.zeros(40, 9).long(), torch.arange(360).view(40, 9) % 4], -1)
    scalars, per_unit = taken(Codebook(indices, 4, axis=-1))
    other, _ = taken(Codebook(indices.movedim(-1, 1), 4, axis=1))
    assert scalars == other
    np.testing.assert_allclose(per_unit["perplexity"], [1.0, 4.0], rtol=0.01)
    assert scalars["information"] == pytest.approx(9 * math.log(4), rel=0.01)  # of 9 tokens
    assert scalars["samples"] == 360


def test_no_code_and_a_wrong_code_are_told_apart():
    """-1 and what is masked are not there; an index beyond the size is counted as such."""
    indices = torch.tensor([[0, 1, -1], [1, 0, 9]])
    scalars, _ = taken(Codebook(indices, 2), mask=torch.tensor([[1, 1, 1], [0, 1, 1]]))
    assert (scalars["samples"], scalars["outside_codes"]) == (3.0, 1.0)


# --- sums: they add up, travel and never wait ---

BATCHES = [
    lambda seed: Categorical(logits(16, 2, 3, 4, seed=seed)),
    lambda seed: Categorical(logits(16, 4, seed=seed), logits(16, 4, seed=9)),
    lambda seed: Bernoulli(logits(16, 5, seed=seed)),
    lambda seed: Codebook((9 * logits(16, 6, 2, seed=seed)).abs().long() % 8, 8, -1),
]


@pytest.mark.parametrize("batch", BATCHES)
def test_windows_merge_to_what_one_window_would_have_been(batch):
    """In any order, packed and unpacked between."""
    statistics = [FamilyStatistics.of(batch(0)) for _ in range(3)]
    for seed in range(4):
        statistics[seed % 2].update(batch(seed))
        statistics[2].update(batch(seed))
    one, two = (unpacked(s.pack(), s.shape) for s in statistics[:2])
    for merged in (one.merge(two), two.merge(one)):
        torch.testing.assert_close(merged.sums, statistics[2].sums)
    statistics[2].reset()
    assert not statistics[2].sums.any()


def test_sequences_may_be_of_any_length():
    """Room is made for later positions."""
    short, long = Categorical(logits(8, 2, 1, 3)), Categorical(logits(8, 5, 1, 3))
    a, b, c = (FamilyStatistics.of(first) for first in (short, long, short))
    a.update(short)
    b.update(long)
    c.update(short)
    c.update(long)
    torch.testing.assert_close(a.merge(b).sums, c.sums)
    torch.testing.assert_close(b.merge(a).sums, c.sums)


def test_what_is_large_is_read_at_every_kth_position():
    """No more sums are kept than of a Gaussian latent; the sum over positions stands for all."""
    parameters = logits(2, 300, 1, 4096)
    statistics = FamilyStatistics.of(Categorical(parameters))
    statistics.update(Categorical(parameters))
    assert statistics.sums.numel() <= 11 * 65_536
    q = parameters.double().softmax(-1).numpy()
    all_of_them = (entropy(q.mean(0)) - entropy(q).mean(0)).sum()
    assert take(statistics).scalars["information"] == pytest.approx(all_of_them, rel=0.02)


@pytest.mark.parametrize("batch", BATCHES)
def test_nothing_waits_for_the_device(batch):
    """No value is read on the host, not even of a device that has none."""
    for device in ("meta", "cpu"):
        moved = batch(0).mapped(lambda tensor, device=device: tensor.to(device))
        statistics = FamilyStatistics.of(moved)
        with OneDevice(device), NothingWaits():
            centred = statistics.update(moved)
            if centred is not None:
                statistics.add_growth(centred, torch.zeros_like(moved.parameter))
            statistics.end_step()
            statistics.pack()


def window_of(*seeds):
    """A step a seed of two discrete latents and a Gaussian one."""
    window = Window(50, observe_every=1)
    for seed in seeds:
        window.latents.observe("z", BATCHES[0](seed))
        window.latents.observe("codes", BATCHES[3](seed))
        mean, log_variance = logits(16, 3, seed=seed), logits(16, 3, seed=seed + 5)
        window.observe("gauss", mean, log_variance, None, None)
        window.end_step()
    return window


def test_ranks_add_up_to_what_one_would_have_seen():
    """Discrete latents beside a Gaussian one, in one vector."""
    whole = window_of(0, 1, 2, 3)
    shapes = {name: shape_of(gathered) for name, gathered in whole.latents}
    cells = sum(s.positions * s.units for s in shapes.values() if not s.family)

    def pool():
        return Pool(shapes, torch.zeros(3, cells, dtype=torch.float64))

    ranks = [window_of(0, 2), window_of(1, 3)]
    packed = [pool().pack(window) for window in ranks]
    assert all(len(vector) == pool().size(2) for vector in packed)
    reader = pool()
    together = reader.split(reader.centred(sum(packed)), 2)
    vector, layout = whole.pack()
    alone = layout.split(vector)
    for name, seen in alone.latents.items():
        got, expected = take(together.latents[name].statistics), take(seen.statistics)
        for measure in ("information", "perplexity", "kl", "samples"):
            if measure in expected.scalars:
                assert got.scalars[measure] == pytest.approx(expected.scalars[measure], rel=1e-5)


# --- what is little ---


@pytest.mark.parametrize(
    ("batch", "little", "dead"),
    [
        (Categorical(torch.zeros(8, 10)), 0.05 * math.log(10), 0.2),
        (Categorical(torch.zeros(8, 40, 10)), 0.5, 0.2),
        (Bernoulli(torch.zeros(8, 400)), 2.0, 0.2),
        (Codebook(torch.zeros(8).long(), 512), 0.5 * math.log(512), 0.5),
        (Codebook(torch.zeros(8, 4, 2).long(), 16, -1), 4.0 * math.log(16), 0.5),
    ],
)
def test_what_is_little_depends_on_what_can_be_carried(batch, little, dead):
    """The rules' limit, or 5 % of the capacity; of a codebook the root of its size in use."""
    statistics = FamilyStatistics.of(batch)
    statistics.update(batch)
    limits = limits_of(Rules(), take(statistics))
    assert limits == pytest.approx((little, dead * little))


# --- growth ---


@pytest.mark.parametrize(
    ("sign", "kind"), [(1.0, Categorical), (-1.0, Categorical), (-1.0, Bernoulli)]
)
def test_growth_has_the_sign_of_where_the_loss_pushes(sign, kind):
    """A loss that wants samples to differ grows, one that wants them alike shrinks."""
    monitor, memory = recorded(check_frequency=10, observe_every=1)
    for seed in range(10):
        parameters = logits(16, 3, 4, seed=seed).requires_grad_()
        monitor.observe("z", kind(parameters))
        loss = -sign * (parameters - parameters.mean(0)).square().sum()
        loss.backward()
        monitor.step()
    assert sign * memory.reports[0].latents["z"].measures["growth"] > 2.0


def test_a_masked_sample_pulls_nothing():
    """Growth is taken of what is real alone."""
    parameters, mask = logits(8, 2, 3), torch.arange(8) < 4
    statistics, half = (FamilyStatistics.of(Categorical(parameters)) for _ in range(2))
    gradient = logits(8, 2, 3, seed=1)
    statistics.add(Categorical(parameters), mask, gradient)
    half.add(Categorical(parameters[:4]), None, gradient[:4])
    torch.testing.assert_close(statistics.growth_sums, half.growth_sums)


# --- the life of a latent ---


def test_a_latent_of_another_kind_begins_a_window_of_its_own(caplog):
    """The same name for two kinds is told, and never mixed."""
    monitor, memory = recorded(check_frequency=4, observe_every=1)
    for batch in (Categorical(torch.zeros(8, 3)), Categorical(torch.zeros(8, 4))):
        monitor.observe("z", batch)
        monitor.step()
    monitor.observe("z", torch.zeros(8, 1), torch.zeros(8, 1))
    monitor.step()
    monitor.observe("z", Codebook(torch.zeros(8).long(), 4))
    monitor.step()
    told = warnings_in(caplog)
    assert [text.split("; ")[0].removeprefix("latent 'z' ") for text in told] == [
        "had 5 sums a unit and now has 6",
        "was a Categorical and now is a Gaussian",
        "was of another kind and now is a Codebook",
    ]
    assert memory.reports[0].latents["z"].measures["samples"] == 8


def test_a_run_that_is_resumed_goes_on_with_its_sums(tmp_path):
    """In the middle of a window, through a file that holds no code."""

    def run(monitor, seeds):
        for seed in seeds:
            monitor.observe("z", BATCHES[0](seed))
            monitor.observe("codes", BATCHES[3](seed))
            monitor.step()

    whole, expected = recorded(check_frequency=6, observe_every=1)
    run(whole, range(12))
    first, _ = recorded(check_frequency=6, observe_every=1)
    run(first, range(8))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second, memory = recorded(check_frequency=6, observe_every=1)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    run(second, range(8, 12))
    for name in ("z", "codes"):
        got, want = (m.reports[-1].latents[name].measures for m in (memory, expected))
        assert got == pytest.approx(want)


def test_a_family_that_is_not_imported_is_left_out_with_a_word(caplog):
    """A state may be loaded before the user's own family is there."""
    monitor, memory = recorded(check_frequency=2, observe_every=1)
    monitor.observe("z", BATCHES[0](0))
    monitor.observe("gauss", torch.randn(8, 2), torch.zeros(8, 2))
    monitor.step()
    state = monitor.state_dict()
    state["window"]["latents"]["z"]["shape"][5] = "gone:Family"
    resumed, memory = recorded(check_frequency=2, observe_every=1)
    resumed.load_state_dict(state)
    resumed.observe("gauss", torch.randn(8, 2), torch.zeros(8, 2))
    resumed.step()
    assert list(memory.reports[0].latents) == ["gauss"]
    assert "gone:Family, which is not imported" in warnings_in(caplog)[0]


def test_it_is_written_and_read_back(tmp_path, capsys):
    """The ledger and the check command know a codebook as any other latent."""
    from collapse_logging.cli import main

    with CollapseMonitor(
        check_frequency=2, observe_every=1, log_dir=tmp_path, verbose=False
    ) as monitor:
        for _ in range(40):
            monitor.observe("codes", Codebook(torch.zeros(64).long(), 32))
            monitor.step()
    assert main(["check", str(tmp_path)]) == 1
    assert "set dead codes to encoder outputs" in capsys.readouterr().out
