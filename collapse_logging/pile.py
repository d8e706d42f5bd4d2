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

_NARROW = (torch.float32, torch.bfloat16, torch.float16)


class Pile:
    """Batches of one kind: as many rows, units and sides (ln sigma^2, mu, and dL/dmu if known).

    Attributes:
        count: how many wait.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kind = (0, 0, 0)
        self._batches = torch.empty(0, 0, 0)
        self._slots: tuple[Tensor, ...] = ()

    def put(self, sides: list[Tensor], rows: int, width: int) -> bool:
        """Copy a batch; False if it cannot wait here: there is no room, or it is of another kind.

        Args:
            sides: ``[rows, units]`` each, without a graph.
            rows: of the batch.
            width: units of all sides together.
        """
        for side in sides:
            if side.dtype not in _NARROW or side.device.type != "cpu":
                return False
        if self._kind != (rows, width, len(sides)):
            if self.count:
                return False
            self._make_room((rows, width, len(sides)))
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
        return {"kind": list(self._kind), "batches": self._batches[: self.count].clone()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        rows, width, sides = state["kind"]
        self._make_room((rows, width, sides))
        self.count = len(state["batches"])
        self._batches[: self.count] = state["batches"]

    def _make_room(self, kind: tuple[int, int, int]) -> None:
        rows, width, _ = self._kind = kind
        most = MOST_BYTES // (4 * rows * width) if rows * width else 0
        with torch.inference_mode(False):
            self._batches = torch.empty(most if most > 1 else 0, rows, width)
        self._slots = self._batches.unbind(0) if most > 1 else ()
