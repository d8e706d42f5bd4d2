"""Batches on the host that wait to be summed together.

In a training step caches are cold, and a call of torch's costs many times what the next one like
it would. So a batch is put away by one call, and a whole pile is summed by those that one batch
would need.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MOST_BYTES = 2**20
"""What a pile may hold. Of larger batches the arithmetic matters, not the calls."""

MOST = 64
"""Batches that a pile may hold; more would save nothing."""

_NARROW = (torch.float32, torch.bfloat16, torch.float16)


class Pile:
    """Batches of one kind: as many rows, units and sides (ln sigma^2, mu, and dL/dmu if known).

    Attributes:
        count: how many wait.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kind = self._last = (0, 0, 0)
        self._batches = torch.empty(0, 0, 0)
        self._slots: tuple[Tensor, ...] = ()

    @property
    def full(self) -> bool:
        """Whether those that wait must be taken before a further one can be put."""
        return 0 < self.count == len(self._slots)

    def put(self, sides: list[Tensor], rows: int, width: int) -> bool:
        """Copy a batch; False if it cannot wait here: there is no room, or it is of another kind.

        Room is made for a kind that comes twice in a row.

        Args:
            sides: ``[rows, units]`` each, without a graph.
            rows: of the batch.
            width: units of all sides together.
        """
        for side in sides:
            if side.dtype not in _NARROW or side.device.type != "cpu":
                return False
        kind, last = (rows, width, len(sides)), self._last
        self._last = kind
        if kind != self._kind and (self.count or kind != last):
            return False
        if kind != self._kind:
            self._make_room(kind)
        if self.count == len(self._slots):
            return False
        torch.cat(sides, 1, out=self._slots[self.count])
        self.count += 1
        return True

    def take(self) -> Tensor:
        """Those that wait, ``[count, rows, width]``, until the next is put."""
        count, self.count = self.count, 0
        return self._batches[:count]

    def state(self) -> dict[str, Any]:
        """Those that wait, as plain values."""
        kinds = {"kind": list(self._kind), "last": list(self._last)}
        return {**kinds, "batches": self._batches[: self.count].clone()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        rows, width, sides = state["kind"]
        self._make_room((rows, width, sides))
        rows, width, sides = state["last"]
        self._last = rows, width, sides
        self.count = len(state["batches"])
        self._batches[: self.count] = state["batches"]

    def _make_room(self, kind: tuple[int, int, int]) -> None:
        rows, width, _ = self._kind = kind
        most = min(MOST, MOST_BYTES // max(4 * rows * width, 1))
        with torch.inference_mode(False):
            self._batches = torch.empty(most if most > 1 else 0, rows, width)
        self._slots = self._batches.unbind(0) if most > 1 else ()
