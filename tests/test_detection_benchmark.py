"""The detection benchmark: its truth, its records, and twenty of its trainings."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection import evaluate, record, replay, truth
from benchmarks.detection.cases import Case, all_cases, subset
from benchmarks.detection.replay import Told
from benchmarks.detection.truth import AMBIGUOUS, COLLAPSED, HEALTHY, IGNORES, Truth
from collapse_logging import Level

OK, YELLOW, ORANGE, RED = Level

# --- twenty trainings ---

EXPECTED = {
    "linear/healthy": {"z": HEALTHY},
    "linear/collapsed": {"z": COLLAPSED},
    "linear/raised": {"z": COLLAPSED},
    "gaussian/sharp": {"z": HEALTHY},
    "gaussian/dull": {"z": COLLAPSED},
    "bernoulli/beta 1": {"z": HEALTHY},
    "bernoulli/beta 10": {"z": COLLAPSED},
    "units/32 collapsed": {"z": COLLAPSED},
    "warm-up/to 20, fast": {"z": COLLAPSED},
    "raised/to 30 at once": {"z": COLLAPSED},
    "free bits/met by information": {"z": HEALTHY},
    "free bits/met by the variance": {"z": COLLAPSED},
    "text/beta 1": {"z": COLLAPSED},
    "hierarchy/top dies": {"bottom": HEALTHY, "top": COLLAPSED},
    "convolutional/collapsed": {"z": COLLAPSED},
    "sets/summed": {"z": HEALTHY},
    "sets/averaged": {"z": COLLAPSED},
    "autocast/healthy": {"z": HEALTHY},
    "ignores/shortcut, classifier, gaussian": {"z": IGNORES},
    "reduction/averaged over pixels": {"z": COLLAPSED},
}
"""The truth of each latent at the end of its training."""

LATE = ("linear/raised", "raised/to 30 at once")
"""Those that were healthy before they collapsed."""

FINAL = {HEALTHY: OK, COLLAPSED: RED, IGNORES: YELLOW}
"""The level at the last check of each truth; without a probe who ignores z is only watched."""

PACES = ("default", "fast")


def case_of(name: str) -> Case:
    """The subset's case of family and variant."""
    return next(case for case in subset() if f"{case.family}/{case.variant}" == name)


def keep_in(folder: Path) -> None:
    """Records go to the folder; in a process that trains, too."""
    record.CACHE = folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the records of the subset, trained by two processes."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(record, "CACHE", folder)
        replay.load.cache_clear()
        workers = min(4, os.cpu_count() or 1)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, keep_in, (folder,)) as pool:
            list(pool.map(record.record, sorted(subset(), key=lambda case: -case.steps)))
        yield folder
        replay.load.cache_clear()


def test_the_subset_is_what_is_expected_here() -> None:
    """Twenty trainings, one a variant, all with the first seed."""
    assert {f"{case.family}/{case.variant}" for case in subset()} == set(EXPECTED)
    assert len(subset()) == len(EXPECTED) == 20
    assert {case.seed for case in subset()} == {0}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_truth_of_a_training(trained: Path, name: str) -> None:
    """Each latent is at the end what its variant is meant to be, and stays so to the end."""
    kept = replay.load(case_of(name))
    courses = {latent: kept.course(latent) for latent in kept.case["latents"]}
    assert {latent: course.category for latent, course in courses.items()} == EXPECTED[name]
    late = {latent for latent, course in courses.items() if course.late}
    assert late == ({"z"} if name in LATE else set())
    assert not any(course.transient for course in courses.values())


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_levels_of_a_training(trained: Path, name: str, pace: str) -> None:
    """What collapsed ends red; what is healthy ends OK and was never worse than yellow."""
    found = replay.replay(replay.load(case_of(name)), pace, pace)
    for latent, category in EXPECTED[name].items():
        assert found[latent].levels[-1] == FINAL[category], latent
        if category != COLLAPSED:
            assert max(found[latent].levels) <= YELLOW, latent


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_decoder_that_ignores_the_latent_is_red_when_it_is_probed(
    trained: Path, name: str, pace: str
) -> None:
    """With probe and beta no level of the others changes at the end, and this one is red."""
    told = Told(beta=True, probe=True)
    found = replay.replay(replay.load(case_of(name)), pace, pace, told)
    for latent, category in EXPECTED[name].items():
        assert found[latent].levels[-1] == (OK if category == HEALTHY else RED), latent
        if category == HEALTHY:
            assert max(found[latent].levels) <= YELLOW, latent


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_replay_says_what_the_monitor_said(trained: Path, name: str, pace: str) -> None:
    """The recorded windows, judged again, give the run's level at every check as it was live."""
    kept = replay.load(case_of(name))
    found = [series.levels for series in replay.replay(kept, pace, pace).values()]
    assert [max(levels) for levels in zip(*found, strict=True)] == list(
        kept.arrays[f"{pace}/levels"]
    )


@pytest.mark.parametrize("pace", PACES)
def test_the_score_of_the_subset(trained: Path, pace: str) -> None:
    """Every collapse is found, none too early, and no healthy latent is accused."""
    rows = [
        row
        for case in subset()
        for row in evaluate.outcomes(replay.load(case), evaluate.DETECTORS[pace])
    ]
    score = evaluate.score(rows)
    collapsed = sum(
        truths.count(COLLAPSED) for truths in map(list, map(dict.values, EXPECTED.values()))
    )
    assert (score["recall_red"]["hits"], score["recall_red"]["of"]) == (collapsed, collapsed)
    assert (score["false_red"]["hits"], score["false_orange"]["hits"]) == (0, 0)
    assert (score["premature_red"]["hits"], score["premature_red"]["of"]) == (0, len(LATE))
    wrong = {row["what"] for row in evaluate.failures(rows)}
    assert {what for what in wrong if "slow" not in what} <= {"missed at red"}  # who ignores z


def test_dead_units_are_told_apart(trained: Path) -> None:
    """In the linear model those called dead are those whose permutation costs nothing."""
    kept = [replay.load(case_of(name)) for name in EXPECTED if name.startswith("linear/")]
    scores = evaluate.unit_scores(kept)
    for score in (scores["precision"], scores["recall"]):
        assert score["hits"] == score["of"] == 13  # one of the six of the healthy one


# --- records ---


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A training of a hundred steps, with a cache of its own."""
    monkeypatch.setattr(record, "CACHE", tmp_path / "cache")
    replay.load.cache_clear()
    return dataclasses.replace(case_of("linear/healthy"), steps=100)


def without_seconds(case: Case) -> dict[str, object]:
    """The plain values of a record, but the time that it took."""
    about = json.loads(record.paths(case)[1].read_text())
    assert about.pop("seconds") > 0.0
    return about


def test_a_record_is_the_same_when_it_is_made_again(short: Case) -> None:
    """A training depends on its case alone."""
    seen = []
    for _ in range(2):
        record.record(short)
        with np.load(record.paths(short)[0]) as saved:
            seen.append((without_seconds(short), {name: saved[name] for name in saved.files}))
    (about, arrays), (about_again, arrays_again) = seen
    assert about == about_again
    assert arrays.keys() == arrays_again.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, arrays_again[name], err_msg=name)


@pytest.mark.parametrize("dies_in", ["the arrays", "between the files", "the plain values"])
def test_a_record_is_whole_or_absent(
    short: Case, dies_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever writing is interrupted, the training has no record, and a second run makes it."""

    def half_written(path: Path, **arrays: object) -> None:
        path.write_bytes(b"PK half")
        raise KeyboardInterrupt

    def interrupted(self: Path, *arguments: object) -> None:
        if dies_in == "the plain values":
            self.write_bytes(b'{"case": ')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if dies_in == "the arrays":
            patch.setattr(np, "savez_compressed", half_written)
        else:
            patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record.record(short)
    assert not record.is_recorded(short)
    with pytest.raises(FileNotFoundError):
        replay.load(short)
    record.record(short)
    assert record.is_recorded(short)
    assert replay.load(short).course("z").category in (HEALTHY, AMBIGUOUS)


def test_a_key_is_of_what_is_trained(short: Case) -> None:
    """Another seed, length or setting is another record; another intent is not."""
    others = [
        dataclasses.replace(short, seed=1),
        dataclasses.replace(short, steps=99),
        dataclasses.replace(short, settings=(*short.settings, ("beta", 2.0))),
    ]
    assert len({short.key, *(other.key for other in others)}) == 4
    assert dataclasses.replace(short, intent=COLLAPSED).key == short.key
    keys = [case.key for case in all_cases()]
    assert len(set(keys)) == len(keys)


# --- the truth ---


def test_identical_posteriors_carry_nothing() -> None:
    """Every row has the same posterior: no information, exactly, however many units."""
    same = np.tile(np.random.default_rng(0).standard_normal(7), (50, 1))
    assert truth.mutual_information(same, 0.3 * same) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("rows", [2, 10, 400])
def test_separated_posteriors_carry_all_that_rows_can(rows: int) -> None:
    """Posteriors that do not overlap tell every row from every other: ln rows."""
    far = 100.0 * np.arange(rows)[:, None]
    found = truth.mutual_information(far, np.zeros((rows, 1)))
    assert found == pytest.approx(math.log(rows), abs=1e-9)


@pytest.mark.parametrize("signal", [0.01, 0.1, 1.0, 4.0])
def test_the_information_of_a_gaussian_channel(signal: float) -> None:
    """Means of variance s and noise 1: half ln(1 + s) a unit."""
    rng = np.random.default_rng(1)
    mean = math.sqrt(signal) * rng.standard_normal((4000, 1))
    expected = 0.5 * math.log1p(signal)
    assert truth.mutual_information(mean, np.zeros((4000, 1))) == pytest.approx(expected, abs=0.05)


def test_the_gap_is_paired() -> None:
    """What the rows' losses have in common does not widen the error."""
    rng = np.random.default_rng(2)
    loss, extra = 1e3 * rng.standard_normal(500), 2.0 + rng.standard_normal(500)
    found = truth.measure(np.zeros((500, 2)), np.zeros((500, 2)), loss, loss + extra)
    assert found.gap == pytest.approx(extra.mean())
    assert found.gap_error == pytest.approx(extra.std(ddof=1) / math.sqrt(500), rel=1e-9)
    assert found.cap == pytest.approx(math.log(500))


@pytest.mark.parametrize(
    ("information", "gap", "error", "category"),
    [
        (0.0, 0.0, 0.01, COLLAPSED),
        (0.1, 0.1, 0.01, COLLAPSED),
        (0.1, 0.29, 0.1, COLLAPSED),
        (0.1, 0.31, 0.1, AMBIGUOUS),
        (0.11, 9.0, 0.01, AMBIGUOUS),
        (0.49, 9.0, 0.01, AMBIGUOUS),
        (0.5, 9.0, 0.01, HEALTHY),
        (0.5, 0.11, 0.01, HEALTHY),
        (0.5, 0.09, 0.01, AMBIGUOUS),
        (0.5, 0.02, 0.001, IGNORES),
        (5.0, -1.0, 0.01, IGNORES),
        (5.0, 0.29, 0.1, IGNORES),
        (5.0, 0.31, 0.1, HEALTHY),
    ],
)
def test_the_limits_of_the_truth(
    information: float, gap: float, error: float, category: str
) -> None:
    """What is collapsed, healthy, ignored or none of them, at the limits."""
    assert Truth(information, 6.0, gap, error).category == category


MARKS = {
    "c": Truth(0.0, 6.0, 0.0, 0.01),
    "H": Truth(3.0, 6.0, 5.0, 0.01),
    "i": Truth(3.0, 6.0, 0.0, 0.01),
    "?": Truth(0.3, 6.0, 5.0, 0.01),
}


@pytest.mark.parametrize(
    ("marks", "category", "collapsed_at", "late", "transient"),
    [
        ("cccccc", COLLAPSED, 0, False, False),
        ("?ccccc", COLLAPSED, 50, False, False),
        ("HHHccc", COLLAPSED, 150, True, False),
        ("HcHccc", COLLAPSED, 150, True, False),
        ("HH?ccc", COLLAPSED, 150, True, False),
        ("cc?HHH", HEALTHY, None, False, False),
        ("HccHHH", HEALTHY, None, False, True),
        ("ccHcHHH", HEALTHY, None, False, True),
        ("HHHHcc", AMBIGUOUS, None, False, False),
        ("HHHcHc", AMBIGUOUS, None, False, False),
        ("HHHiii", IGNORES, None, False, False),
    ],
)
def test_the_course_of_a_truth(
    marks: str, category: str, collapsed_at: int | None, late: bool, transient: bool
) -> None:
    """The end is what the last three say; a collapse is dated where it begins to stay."""
    steps = list(range(0, 50 * len(marks), 50))
    found = truth.course(steps, [MARKS[mark] for mark in marks])
    assert found == truth.Course(category, collapsed_at, late, transient)


def test_the_truth_at_a_step_is_that_of_the_evaluation_before() -> None:
    """Nothing is known of a step before it was evaluated."""
    truths = [MARKS[mark] for mark in "cH"]
    found = [truth.category_at([0, 50], truths, step) for step in (0, 49, 50, 80)]
    assert found == [COLLAPSED, COLLAPSED, HEALTHY, HEALTHY]


# --- scores ---


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilsons_interval(hits: int, of: int, low: float, high: float) -> None:
    """As Newcombe (1998, table I, method 3) gives it; nothing is known of nothing."""
    assert evaluate.wilson(hits, of) == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
    )


def test_the_spread_of_delays() -> None:
    """Median, 90 % and worst are values that occurred; one never found is worse than all."""
    assert evaluate.spread(range(1, 11)) == {"median": 5.0, "p90": 9.0, "worst": 10.0}
    assert evaluate.spread([1.0, 2.0, math.inf]) == {"median": 2.0, "p90": None, "worst": None}
    assert evaluate.spread([]) == {"median": None, "p90": None, "worst": None}
