"""Posteriors that are no diagonal Gaussian: what a family says of a batch, and of its sums.

A family is one class. Of a batch it says what each sample adds to a few sums, on the training
device; these add up over steps, windows and ranks. Of their means it says, on the host, what
the latent carries. All else (masks, growth, levels, trackers) is as for any other latent.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from .report import Vector
from .rows import FamilyRow

_Same = TypeVar("_Same", bound="Family")


@dataclasses.dataclass(frozen=True, eq=False)  # tensors cannot be compared
class Family(ABC):
    """One batch of posteriors of one kind; derive a frozen dataclass from it.

    Its fields that are tensors begin with the batch; with positions these come second.

    Attributes:
        amounts: measures that are summed over positions and units, as nats are; ...
        counts: ... that are summed over units alone; all others are averaged.
        dead: share of "little information" (:meth:`little`) below which there is as good as none.
    """

    amounts: ClassVar[tuple[str, ...]] = ("information", "kl")
    counts: ClassVar[tuple[str, ...]] = ()
    dead: ClassVar[float] = 0.2

    @abstractmethod
    def total(self, mask: Tensor | None) -> Tensor:
        """Count, what could not be read, and the sums, ``[2 + rows, positions, units]``.

        Most families give :meth:`summed` of what each sample adds. No value may be read on the
        host here (``.item()``, ``if tensor``): training would wait.

        Args:
            mask: True where a sample is real, ``[batch, 1 or positions, 1]``; None: all are.
        """

    @staticmethod
    def summed(summands: Tensor, mask: Tensor | None) -> Tensor:
        """The :meth:`total` of what each sample adds; samples with a value not finite are left out.

        Args:
            summands: ``[rows, batch, units]`` or ``[rows, batch, positions, units]``.
            mask: as for :meth:`total`.
        """
        summands = summands.float()
        if summands.ndim == 3:
            summands = summands.unsqueeze(2)
        finite = torch.isfinite(summands).all(0)
        real = torch.ones_like(finite) if mask is None else mask.expand_as(finite)
        valid = finite & real
        about = torch.stack([valid, ~finite & real]).sum(1, dtype=torch.float32)
        return torch.cat([about, torch.where(valid, summands, 0.0).sum(1)])

    @classmethod
    @abstractmethod
    def measures(cls, mean: Vector, count: Vector) -> Mapping[str, Vector]:
        """Measures by name, ``[positions, units]`` each; ``information`` in nats is needed.

        Args:
            mean: the sums' means over the window, ``[rows, positions, units]``, float64.
            count: how many samples that were, ``[positions, units]``; 0 where there was none.
        """

    @classmethod
    def capacity(cls, rows: int) -> float:
        """The most nats that a unit can carry at one position; infinite unless it is known."""
        return float("inf")

    @classmethod
    def little(cls, usual: float, capacity: float) -> float:
        """Nats below which the whole latent carries little: at most 5 % of what it can carry.

        Args:
            usual: the rules' limit for a latent of so many dimensions.
            capacity: the most that the latent can carry, nats.
        """
        return min(usual, 0.05 * capacity)

    @classmethod
    def enough(cls, rows: int) -> int:
        """Samples without which measures mislead; smaller windows are merged with the last ones."""
        return 0

    @property
    def parameter(self) -> Tensor | None:
        """What the gradient is asked of, for growth, e.g. the logits; None: no growth.

        ``[batch, units]`` or ``[batch, positions, units]``, with further axes behind, if any.
        """
        return None

    @property
    def positions_and_units(self) -> tuple[int, int]:
        """How many positions and how many units a sample has."""
        _, positions, units = self._form
        return positions, units

    @property
    def all_positions(self) -> int:
        """Positions of a sample, also where their sums are taken together."""
        return self.positions_and_units[0]

    @property
    def rows(self) -> int:
        """How many sums a unit has."""
        return self._form[0] - FamilyRow.OWN

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The fields that are tensors."""
        return tuple(value for _, value in self._tensor_fields())

    def mapped(self: _Same, change: Callable[[Tensor], Tensor]) -> _Same:
        """The same with every tensor changed."""
        return dataclasses.replace(self, **{n: change(v) for n, v in self._tensor_fields()})

    def first(self: _Same, rows: int) -> _Same:
        """The first rows, detached."""
        found = self.mapped(lambda tensor: tensor.detach()[:rows])
        if "_form" in vars(self):
            vars(found)["_form"] = self._form
        return found

    @functools.cached_property
    def _form(self) -> torch.Size:
        """Shape of the sums, found once a batch, by kernels over no sample."""
        return self.first(0).total(None).shape

    def _tensor_fields(self) -> Iterator[tuple[str, Tensor]]:
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), Tensor):
                yield field.name, value


def check_parameters(what: str, tensor: object, shapes: Sequence[str]) -> None:
    """Raise unless it is a floating-point tensor of one of the shapes, one axis more each.

    Raises:
        TypeError, ValueError: with expected, got and how to mend.
    """
    expected = f"{what}: expected parameters {' or '.join(shapes)} of a floating-point type"
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        came = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"{expected}, got {came}; pass the network's output itself.")
    if not 2 <= tensor.ndim <= len(shapes) + 1 or 0 in tensor.shape[1:]:
        raise ValueError(
            f"{expected}, got {list(tensor.shape)}; the batch comes first, and all positions are "
            "one axis."
        )


def name_of(family: type[Family]) -> str:
    """A family's name as checkpoints and other ranks know it."""
    return f"{family.__module__}:{family.__qualname__}"


def family_named(name: str) -> type[Family] | None:
    """The family of that name among those that were imported; nothing is imported here."""
    waiting: list[type[Family]] = Family.__subclasses__()
    found = None
    while waiting:
        family = waiting.pop()
        waiting += family.__subclasses__()
        found = family if name_of(family) == name else found
    return found
