"""What a check on several ranks does on the device, in one process."""

from __future__ import annotations

import torch

from collapse_logging.pooled import Pool, shape_of
from collapse_logging.window import Window

from ..test_hot_path import Kernels, NothingWaits, OneDevice, observed_window


def pool_of(window: Window, device: str) -> Pool:
    """As all ranks would agree on it."""
    shapes = {name: shape_of(gathered) for name, gathered in window.latents}
    cells = sum(shape.positions * shape.units for shape in shapes.values())
    return Pool(shapes, torch.zeros(3, cells, device=device, dtype=torch.float64))


def test_a_check_takes_nothing_from_the_host() -> None:
    """Packing and centring copy nothing to the device, read no value and need few kernels."""
    sizes = []
    for device in ("meta", "cpu"):
        window = observed_window(device)
        pool = pool_of(window, device)
        with OneDevice(device), NothingWaits(), Kernels() as kernels:
            vector = pool.pack(window)
            centred = pool.centred(vector)
        sizes.append((vector.shape, centred.shape))
        assert vector.numel() == pool.size(window.steps)
    print(len(kernels.names), "kernels")
    assert sizes[0] == sizes[1]
    assert len(kernels.names) <= 160


def test_one_rank_alone_is_what_the_window_is() -> None:
    """Packed, centred and split it says what the window's own vector says."""
    window = observed_window("cpu")
    vector, layout = window.pack()
    expected = layout.split(vector)
    pool = pool_of(window, "cpu")
    got = pool.split(pool.centred(pool.pack(window)), window.steps)
    assert got.losses == expected.losses
    assert got.beta == expected.beta
    for name, seen in expected.latents.items():
        torch.testing.assert_close(got.latents[name].statistics.sums, seen.statistics.sums)


def test_what_overflows_does_not_poison_the_next_window() -> None:
    """The points about which sums are taken stay finite, whatever comes."""
    window = observed_window("cpu")
    pool = pool_of(window, "cpu")
    vector = pool.pack(window)
    for value in (torch.nan, torch.inf):
        pool.centred(torch.full_like(vector, value))
        assert torch.isfinite(pool.shifts[1:]).all()
