"""The GPU script: without a GPU it says so; its parts run on the CPU at toy sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.overhead import gpu, gpu_parts, grid
from benchmarks.overhead.training import Size

TINY = Size(batch=8, units=3, latents=2, hidden=8)
EAGER = {"backend": "eager"}


def test_without_a_gpu_nothing_is_measured(tmp_path):
    """It says what it needs, ends with 0 and leaves no table."""
    root = Path(gpu.__file__).parents[2]
    before = sorted(gpu.RESULTS.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead.gpu"],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(root)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "needs an NVIDIA GPU" in done.stdout
    assert "nothing was measured" in done.stdout
    assert sorted(gpu.RESULTS.iterdir()) == before


def test_a_graph_that_is_run_again_is_counted_exactly():
    """Each sample of each run is counted once, and the numbers are those of float64."""
    expected, counted, error = gpu_parts.replays(TINY, "cpu", EAGER, steps=7)
    assert (expected, counted) == (56, 56)
    assert error < 1e-4


def test_a_check_is_reported_at_once_on_the_cpu():
    """Nothing flies on the CPU: the report comes with the step of its check."""
    assert gpu_parts.lags(TINY, "cpu", checks=3) == [0, 0, 0]


def test_bf16_is_summed_in_more():
    """A window of bf16 posteriors is as right as fp32 allows."""
    errors = gpu_parts.bf16_errors("cpu", batch=64, units=8, steps=10)
    assert set(errors) == {"mean_variance", "posterior_variance", "information", "kl"}
    assert max(errors.values()) < 1e-4


def test_bytes_do_not_grow():
    """Not more bytes after the steps than before; what earlier tests left may go."""
    before, after = gpu_parts.bytes_held(TINY, "cpu", steps=50)
    assert before >= after > 0


def test_every_part_is_in_the_table(monkeypatch):
    """The whole script with toys gives a line for each letter, and a row for each size."""
    monkeypatch.setattr(gpu, "HIDDEN", 8)
    for name in ("SMALL", "MIDDLE", "LARGE"):
        monkeypatch.setattr(gpu, name, (8, 3))
    for name in ("COMPILED", "REPLAYED"):
        monkeypatch.setattr(gpu, name, EAGER)
    few = {"LATENTS": (2,), "PROFILED": 5, "ROUNDS": 1, "STEPS": 20}
    for name, value in few.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(grid, "WARM_UP", 10)
    text = gpu.markdown(gpu.measure("cpu", tell=lambda what: None))
    for letter in "abcdefgh":
        assert f"({letter})" in text
    assert text.count("| compiled |") == 1
    assert text.count("| eager |") == 3


def test_what_is_profiled_is_counted():
    """The profiler sees the model's operators, as often as they run."""
    training = gpu_parts.prepared(TINY, "cpu")
    seen = gpu_parts.profiled(training, gpu_parts.Nobody(), 3, "cpu")
    assert seen["aten::binary_cross_entropy_with_logits"] == 3


def test_a_compiled_training_takes_the_same_steps():
    """Compiled or not, the parameters end the same."""
    plain, compiled = (gpu_parts.prepared(TINY, "cpu", how) for how in (None, EAGER))
    for one, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        assert one.detach().numpy() == pytest.approx(other.detach().numpy(), abs=1e-6)
