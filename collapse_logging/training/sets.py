"""The parts of the sequential set VAE: sets of events in, a latent a set, sets of events out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .events import Batch


class SetEncoder(nn.Module):
    """Events of a set, in any order, to one feature vector (deep sets, Zaheer et al. 2017).

    Args:
        variables: how many there are.
        hidden: width.
    """

    def __init__(self, variables: int, hidden: int) -> None:
        super().__init__()
        self.variable = nn.Embedding(variables, hidden)
        self.slope = nn.Embedding(variables, hidden)
        self.late = nn.Linear(1, hidden)
        self.event = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.whole = nn.Sequential(nn.Linear(hidden + 1, hidden), nn.ReLU())

    def forward(self, batch: Batch) -> Tensor:
        """``[sets, hidden]``."""
        known = self.variable(batch.variable)
        measured = self.slope(batch.variable) * batch.value.unsqueeze(1)
        events = self.event(known + measured + self.late(batch.late.unsqueeze(1)))
        ones = torch.ones_like(batch.value)
        count = batch.hour.new_zeros(len(batch.hour)).index_add(0, batch.of_set, ones)
        total = events.new_zeros(len(count), events.shape[1]).index_add(0, batch.of_set, events)
        count = count.unsqueeze(1)
        return self.whole(torch.cat([total / count, count.log1p()], 1))  # type: ignore[no-any-return]


class Course(nn.Module):
    """A causal transformer over a patient's sets: each sees itself and those before it.

    Args:
        inputs: width of what a set brings.
        hidden: width.
        layers: of the transformer.
        heads: of its attention.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.register_buffer("rates", torch.logspace(0, -3, hidden // 2), persistent=False)
        self.rates: Tensor
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, sets: Tensor, batch: Batch) -> Tensor:
        """``[sets, inputs]`` to ``[sets, hidden]``."""
        patients, longest = batch.real.shape
        angles = batch.hour.unsqueeze(1) * self.rates * (2 * math.pi / 6)
        sets = self.enter(sets) + torch.cat([angles.sin(), angles.cos()], 1)
        padded = sets.new_zeros(patients * longest, sets.shape[1])
        padded = padded.index_copy(0, batch.place, sets).view(patients, longest, -1)
        # padding comes last, where a causal mask already hides it from every real set
        causal = nn.Transformer.generate_square_subsequent_mask(longest, device=sets.device)
        seen = self.layers(padded, mask=causal, is_causal=True)
        return seen.flatten(0, 1).index_select(0, batch.place)  # type: ignore[no-any-return]


class SetDecoder(nn.Module):
    """What a set's features say of it: which variables it has, and their values.

    Args:
        inputs: width of the features.
        variables: how many there are.
        hidden: width.
        deviation: standard deviation of a value about the predicted one, in the variable's own.
    """

    def __init__(self, inputs: int, variables: int, hidden: int, deviation: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.there = nn.Linear(hidden, variables)
        self.value = nn.Linear(hidden, variables)
        self.deviation = deviation

    def forward(self, features: Tensor, batch: Batch, reduction: str = "sum") -> Tensor:
        """Minus the log likelihood of each set in nats, but for a constant, ``[sets]``.

        Args:
            features: ``[sets, inputs]``.
            batch: the sets themselves.
            reduction: ``"sum"`` over variables and events, or ``"mean"``.
        """
        h = self.body(features)
        target, index = torch.zeros_like(there := self.there(h)), (batch.of_set, batch.variable)
        target = target.index_put(index, target.new_ones(()))
        absent = F.binary_cross_entropy_with_logits(there, target, reduction="none")
        errors = 0.5 * ((self.value(h)[index] - batch.value) / self.deviation).square()
        wrong = errors.new_zeros(len(h)).index_add(0, batch.of_set, errors)
        if reduction == "mean":
            count = errors.new_zeros(len(h)).index_add(0, batch.of_set, torch.ones_like(errors))
            return absent.mean(1) + wrong / count  # type: ignore[no-any-return]
        return absent.sum(1) + wrong  # type: ignore[no-any-return]
