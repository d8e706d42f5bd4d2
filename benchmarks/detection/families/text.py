"""LSTM VAE on the English text that ships with Python (Bowman et al. 2016, in small)."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Batch, Posteriors, Run

VOCABULARY, LENGTH = 400, 10
_UNKNOWN, _START, _HELD_OUT = 0, 1, 450


@functools.cache
def split_text() -> tuple[Tensor, Tensor]:
    """Windows of ten words, training and held-out, ``[rows, 10]``, shuffled once."""
    words = re.findall(r"[a-z]+|[.,]", " ".join(topics[k] for k in sorted(topics)).lower())
    common = [word for word, _ in Counter(words).most_common(VOCABULARY - 2)]
    index = {word: i + 2 for i, word in enumerate(common)}
    tokens = torch.tensor([index.get(word, _UNKNOWN) for word in words])
    rows = tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)
    rows = rows[(rows != _UNKNOWN).sum(1) >= 7]
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    return rows[:-_HELD_OUT], rows[-_HELD_OUT:]


class _TextNet(nn.Module):
    def __init__(self, units: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32)
        self.body = nn.LSTM(32, hidden, batch_first=True)
        self.mean = nn.Linear(hidden, units)
        self.log_variance = nn.Linear(hidden, units)
        self.start = nn.Linear(units, hidden)
        self.decoder = nn.LSTM(32, hidden, batch_first=True)
        self.out = nn.Linear(hidden, VOCABULARY)


class Text(Run):
    """Each word is predicted from the words before it, as far as they are shown, and from z, the first state."""  # noqa: E501

    def build(self) -> None:
        """Text and network."""
        self.train, held_out = split_text()
        self.held_out = {"x": held_out}
        self.model = _TextNet(self.case["units"], self.case["hidden"])

    def next_batch(self) -> Batch:
        """Random windows."""
        size = (self.case["batch"],)
        return {
            "x": self.train[torch.randint(len(self.train), size, generator=self.data_generator)]
        }

    def posteriors(self, batch: Batch) -> Posteriors:
        """From the encoder's outputs, averaged over the words."""
        states, _ = self.model.body(self.model.embedding(batch["x"]))
        h = states.mean(1)
        return {"z": (self.model.mean(h), self.model.log_variance(h))}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """Cross entropy in nats, summed over the words."""
        x = batch["x"]
        before = torch.cat([torch.full_like(x[:, :1], _START), x[:, :-1]], 1)
        if self.model.training and self.case["word_dropout"]:
            hidden = torch.rand(before.shape) < self.case["word_dropout"]
            before = torch.where(hidden, _UNKNOWN, before)
        elif self.case["word_dropout"] == 1.0:
            before = torch.full_like(before, _UNKNOWN)
        start = self.model.start(z["z"]).unsqueeze(0)
        first = (torch.tanh(start), start)
        states, _ = self.model.decoder(self.model.embedding(before), first)
        logits = self.model.out(states)
        losses = F.cross_entropy(logits.transpose(1, 2).float(), x, reduction="none")
        return losses.sum(1)
