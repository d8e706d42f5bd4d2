"""Real data that ships: scikit-learn's 1,797 handwritten digits, 8 x 8, and Python's own text."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from pydoc_data.topics import topics

import torch
from torch import Tensor

VOCABULARY, LENGTH = 400, 10
UNKNOWN, START = 0, 1
"""Numbers of no word: what stands for a rare one, and for what comes before the first."""


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


@functools.cache
def sentences() -> Tensor:
    """Ten words at a time from the help topics of Python, ``[rows, 10]``, shuffled once.

    The commonest words by number; rows with more than three others are left out.
    """
    words = re.findall(r"[a-z]+|[.,]", " ".join(topics[k] for k in sorted(topics)).lower())
    common = [word for word, _ in Counter(words).most_common(VOCABULARY - 2)]
    index = {word: i + 2 for i, word in enumerate(common)}
    tokens = torch.tensor([index.get(word, UNKNOWN) for word in words])
    rows = tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)
    rows = rows[(rows != UNKNOWN).sum(1) >= 7]
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
