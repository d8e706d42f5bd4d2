"""The overhead benchmark: its arithmetic on made numbers, its arms at toy sizes, its tables."""

import json

import numpy as np
import pytest
import torch

from benchmarks.overhead import baselines, counts, grid, tables
from benchmarks.overhead.blocks import (
    Block,
    bootstrap,
    by_round,
    mean_difference,
    order,
    paired_ratio,
)
from benchmarks.overhead.figures import WALL, memory_growth, own_seconds, own_share
from benchmarks.overhead.metrics import TorchMetrics
from benchmarks.overhead.ranks import sent
from benchmarks.overhead.targets import MET, SHORT, UNKNOWN
from benchmarks.overhead.training import Size
from benchmarks.overhead.watchers import TEN, Manual, moments_of, ten_numbers

from .parts import gaussian, recorded

TINY = Size(batch=8, units=3, latents=2, hidden=8)
RESULT = json.loads((tables.RESULTS / "result.json").read_text(encoding="utf-8"))

# --- blocks in turns ---


def test_a_round_is_played_forwards_and_back():
    """A B B A: every arm twice a round, and the next round begins one arm later."""
    assert order("AB", 3) == list("ABBABAABABBA")
    assert order("ABC", 2) == list("ABCCBABCAACB")


def test_a_round_is_the_sum_of_its_two_blocks():
    """Each arm has one row a round, of whole and own time."""
    blocks = [Block(2.0**i, 1.0, 0.1 * i, 0.0) for i in range(8)]
    found = by_round(order("AB", 2), blocks)
    np.testing.assert_allclose(found["A"], [[1 + 8, 2, 0.3, 0], [32 + 64, 2, 1.1, 0]])
    np.testing.assert_allclose(found["B"], [[2 + 4, 2, 0.3, 0], [16 + 128, 2, 1.1, 0]])


def test_a_block_that_is_missing_is_noticed():
    """A block too few is an error, not a shift of all that follow."""
    with pytest.raises(ValueError, match="expected 4 blocks, .* got 3"):
        by_round(order("AB", 1), [Block(1.0, 1.0, 0.0, 0.0)] * 3)


def test_a_machine_that_slows_down_changes_no_ratio():
    """A steady drift is the same for every arm of a round."""
    played = order("ABC", 10)
    drift = [Block(1.0 + 0.1 * i, 1.0, 0.0, 0.0) for i in range(len(played))]
    found = by_round(played, drift)
    for arm in "BC":
        assert paired_ratio(found[arm][:, 0], found["A"][:, 0]) == pytest.approx((1.0, 1.0, 1.0))


def test_what_both_arms_share_cancels():
    """Rounds of very different speed do not hide two per cent, and one odd round does not count."""
    random = np.random.default_rng(0)
    without = np.exp(random.normal(0.0, 1.0, 40))
    watched = 1.02 * without * np.exp(random.normal(0.0, 0.004, 40))
    watched[7] *= 3.0
    found = paired_ratio(watched, without)
    assert found.low < 1.02 < found.high
    assert found.low > 1.015
    assert found.high < 1.025


def test_the_mean_counts_what_is_rare():
    """One second in ten rounds of fifty steps is two milliseconds a step."""
    watched = np.ones(10)
    watched[3] += 1.0
    found = mean_difference(watched, np.ones(10), steps=50)
    assert found.value == pytest.approx(0.002)
    assert found.low < 0.002 < found.high
    assert bootstrap(watched).value == 1.0


def test_a_bootstrap_interval_is_as_wide_as_theory_says():
    """For a mean it is about 1.96 standard errors to each side, and the same each time."""
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    found = bootstrap(values, np.mean)
    assert found == bootstrap(values, np.mean)
    half = 1.96 * values.std(ddof=1) / 20.0
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, rel=0.01)
    assert found.high == pytest.approx(values.mean() + half, rel=0.01)
    assert bootstrap(np.full(5, 3.0)) == (3.0, 3.0, 3.0)


def test_own_time_is_read_against_the_rest():
    """One part in eleven that is our own is ten per cent of the step, less what the clock takes."""
    figures, nothing = [[1.1, 0.55, 0.1, 0.05], [2.2, 1.02, 0.2, 0.02]], np.zeros((2, 4))
    assert own_share(figures, nothing, WALL).value == pytest.approx(0.1)
    assert own_share(figures, nothing).value == pytest.approx((0.1 + 0.02) / 2)
    clock = nothing + [0.0, 0.0, 0.0, 0.01]
    assert own_share(figures, clock).value == pytest.approx((0.08 + 0.01) / 2)
    given = {"steps": 10, "arms": {"ours": figures, "control": clock}}
    assert own_seconds(given, "ours", WALL) == pytest.approx(0.015)
    assert own_seconds(given, "ours") == pytest.approx(0.0025)


# --- arms ---


@pytest.mark.usefixtures("windows_alone")
def test_the_ten_numbers_are_ours():
    """What the others compute by hand is what the monitor reports, so the work is comparable."""
    mean, log_variance = gaussian((64, 5))
    monitor, memory = recorded(check_frequency=1)
    monitor.observe("z", mean, log_variance)
    monitor.step(reconstruction_loss=2.5)
    ten = ten_numbers(moments_of(mean, log_variance), torch.tensor(2.5))
    measures = memory.reports[0].latents["z"].measures
    assert tuple(ten) == TEN
    assert ten.pop("reconstruction_loss") == 2.5
    for name, value in ten.items():
        assert float(value) == pytest.approx(measures[name], rel=1e-4), name


def test_torchmetrics_sees_the_whole_window():
    """Its ten numbers after fifty steps are those of all batches together."""
    watcher, batches = TorchMetrics(), [gaussian((16, 4), seed) for seed in range(50)]
    for seed, (mean, log_variance) in enumerate(batches):
        watcher.observe({"z": (mean, log_variance)}, torch.tensor(float(seed)))
        watcher.step()
    whole = [torch.cat(side) for side in zip(*batches, strict=True)]
    expected = ten_numbers(moments_of(*whole), torch.tensor(24.5))
    for name, value in expected.items():
        assert watcher.numbers["z"][name] == pytest.approx(float(value), rel=1e-4), name


def test_the_manuals_figure_is_drawn_every_500_steps(tmp_path):
    """Ten checks a figure, written to the folder."""
    watcher, drawn_after = Manual(tmp_path), []
    for step in range(1, 1001):
        watcher.observe({"z": gaussian((4, 3), step)}, torch.ones(()))
        watcher.step()
        if len(list(tmp_path.iterdir())) > len(drawn_after):
            drawn_after.append(step)
    assert drawn_after == [500, 1000]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["monitoring_plot_step_1000.png", "monitoring_plot_step_500.png"]
    assert len(watcher._history["z: KL divergence"]) == 20


def test_a_row_for_each_way_of_watching(monkeypatch):
    """A size of the grid gives four rows, which share the arms that watch nothing."""
    monkeypatch.setattr(grid, "WARM_UP", 10)
    told = []
    rows = grid.rows(TINY, 1, told.append)
    ways = [(row["observed"], row["writer"]) for row in rows]
    assert ways == list(grid.ARMS)
    for row in rows:
        assert np.shape(row["watched"]) == np.shape(row["control"]) == (1, 4)
        assert row["without"] == rows[0]["without"]
        assert np.all(np.array(row["watched"]) > 0)
        assert row["every"] == 1 or row["observed"] == "budget"
    assert told == ["grid: batch 8, 2 latents of 3 units"]


def test_all_arms_are_in_one_trainer():
    """A real fit gives each arm its rounds, the first one left out."""
    found = baselines.baselines(lambda what: None, TINY, rounds=2, steps=3)
    assert list(found["arms"]) == ["without", *tables.NAMES]
    assert {np.shape(figures) for figures in found["arms"].values()} == {(2, 4)}
    assert found["steps"] == 6


def test_operators_are_counted_the_same_each_time():
    """The count is of the code, not of the machine, and nothing waits."""
    one, again = (counts.operators(latents=2) for _ in range(2))
    assert one == again
    assert one["operators"] > 0
    assert one["waits"] == 0


def test_a_wait_is_counted():
    """Reading a value is seen by the counter."""
    with counts.Counted() as counted:
        torch.ones(1).item()
    assert counted.waits == 1


def test_emission_is_timed_at_each_check():
    """As many times as checks."""
    for own_file in (True, False):
        assert len(counts.emission(own_file, checks=5)) == 5


def test_training_is_bit_identical():
    """The benchmark's own training is, with two latents and the defaults."""
    assert counts.is_bit_identical(steps=60)


def test_a_check_is_one_copy_and_one_collective():
    """On two ranks; the first check also agrees on the layout."""
    found = sent(lambda what: None, checks=3)
    assert found == {"checks": 3, "copies": 3, "all_reduce": 3, "all_gather_object": 1}


# --- tables ---


@pytest.mark.parametrize("name", ["grid", "baselines", "targets", "soak", "gpu"])
def test_the_committed_tables_are_of_the_committed_figures(name):
    """Every table is what its figures say, to the letter."""
    committed = (tables.RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert tables.documents(RESULT)[name] == committed


def test_the_tables_say_on_what_it_was_measured():
    """Processor, cores, threads, torch and date are in each."""
    for name, text in tables.documents(RESULT).items():
        part = {"targets": "grid", "gpu": "gpu_paired"}.get(name, name)
        about = RESULT["machines"][part]
        for key in ("date", "processor", "torch"):
            assert about[key] in text, (name, key)
        assert f"{about['cores']} cores, {about['threads']} thread" in text
    assert RESULT["machines"]["gpu_paired"]["device"] in tables.documents(RESULT)["gpu"]


def test_the_grid_is_whole():
    """Every size with every way of watching, in as many rounds."""
    assert len(RESULT["grid"]) == len(grid.SIZES) * len(grid.ARMS) == 40
    assert {len(row["watched"]) for row in RESULT["grid"]} == {grid.ROUNDS}


def test_a_target_that_is_missed_is_said_to_be():
    """The verdict follows the figure, both ways; without a GPU there is none."""
    figures = json.loads(json.dumps(RESULT))
    figures["counts"] |= {"bytes_a_unit": 65.0, "bit_identical": False, "slow_writer": 1.0}
    worse = rows_of(tables.documents(figures)["targets"])
    figures["counts"] |= {"bytes_a_unit": 64.0, "bit_identical": True, "slow_writer": 0.001}
    better = rows_of(tables.documents(figures)["targets"])
    names = ("device memory", "parameters and random state with and without")
    for name in (*names, "a slow writer holds training up"):
        assert worse[name] == SHORT
        assert better[name] == MET
    assert gpu_verdicts(figures) == [MET]
    for row in figures["gpu_paired"]:
        row["figures"]["ours"] = [[2 * x for x in block] for block in row["figures"]["ours"]]
    assert gpu_verdicts(figures) == [SHORT]
    del figures["gpu_paired"]
    assert gpu_verdicts(figures) == [UNKNOWN]


def gpu_verdicts(figures):
    """What is said of the GPU's row."""
    rows = rows_of(tables.documents(figures)["targets"])
    return [verdict for name, verdict in rows.items() if name.startswith("GPU")]


def test_growth_is_from_the_first_count_to_the_last():
    """In MiB, whatever was in between."""
    held = [[10, 2**20, 0], [20, 5 * 2**20, 0], [30, 3 * 2**20, 0]]
    assert memory_growth({"held": held}) == 2.0


def test_new_figures_replace_their_part_only(tmp_path):
    """A part that is measured again leaves the others as they are."""
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    soak = RESULT["soak"] | {"seconds": 1.0}
    about = RESULT["machines"]["soak"] | {"processor": "another"}
    tables.write({"soak": soak}, about, tmp_path)
    kept = json.loads((tmp_path / "result.json").read_text())
    assert kept == RESULT | {"soak": soak, "machines": RESULT["machines"] | {"soak": about}}
    text = (tmp_path / "soak.md").read_text()
    assert " 1 seconds" in text
    assert "another" in text
    assert "another" not in (tmp_path / "grid.md").read_text()


def rows_of(table):
    """Verdicts by quantity."""
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[-1].strip() for row in cells}
