"""LSTM VAE on the English text that ships with Python (Bowman et al. 2016, in small)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from collapse_logging.training.data import START, UNKNOWN, VOCABULARY, sentences

from .base import Batch, Posteriors, Run

_HELD_OUT = 450


def split_text() -> tuple[Tensor, Tensor]:
    """Windows of ten words, training and held-out, ``[rows, 10]``."""
    return sentences()[:-_HELD_OUT], sentences()[-_HELD_OUT:]


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
        before = torch.cat([torch.full_like(x[:, :1], START), x[:, :-1]], 1)
        if self.model.training and self.case["word_dropout"]:
            hidden = torch.rand(before.shape) < self.case["word_dropout"]
            before = torch.where(hidden, UNKNOWN, before)
        elif self.case["word_dropout"] == 1.0:
            before = torch.full_like(before, UNKNOWN)
        start = self.model.start(z["z"]).unsqueeze(0)
        first = (torch.tanh(start), start)
        states, _ = self.model.decoder(self.model.embedding(before), first)
        logits = self.model.out(states)
        losses = F.cross_entropy(logits.transpose(1, 2).float(), x, reduction="none")
        return losses.sum(1)
