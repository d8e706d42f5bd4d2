"""Real data that ships in a package: scikit-learn's 1,797 handwritten digits, 8 x 8."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def digits() -> Tensor:
    """All digits, ``[1797, 64]``, pixels from 0 to 1, shuffled once.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ModuleNotFoundError(
            "the digits come with scikit-learn, which is not installed; "
            "pip install 'collapse-logging[demo]'."
        ) from error
    pixels = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
    return pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))]


def batches(data: Tensor, size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """``steps`` random batches ``[size, ...]``, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield data[torch.randint(len(data), (size,), generator=generator)]
