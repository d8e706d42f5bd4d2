"""One vector from the training device to the host, without making the training wait.

``send`` starts a copy, ``poll`` gives it once it has arrived. On CUDA the copy goes into pinned
memory behind the work already queued and an event says when it is there; on CPU it is a plain
copy; elsewhere (MPS) reading blocks, once a check.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SLOTS = 2
"""Copies that may be under way at once; beyond it the window goes on and merges."""

LAG = 5
"""Steps after which a copy is waited for where several ranks must decide at the same step."""


class Transfer(ABC):
    """The port: tests put a device of their own behind it."""

    @property
    def idle(self) -> bool:
        """Whether nothing is known to be under way."""
        return False

    @abstractmethod
    def ready(self) -> bool:
        """Whether a further copy of such a vector may be started now."""

    @abstractmethod
    def send(self, vector: Tensor, tag: Any) -> None:
        """Start copying ``vector``; the caller may overwrite it at once (same stream)."""

    @abstractmethod
    def poll(self, wait: bool = False) -> list[tuple[Tensor, Any]]:
        """What has arrived since the last call, oldest first; ``wait`` for all of it."""


class DirectTransfer(Transfer):
    """CPU, and any device without events: the copy has arrived when ``send`` returns."""

    def __init__(self) -> None:
        self._arrived: list[tuple[Tensor, Any]] = []

    @property
    def idle(self) -> bool:
        """All was polled."""
        return not self._arrived

    def ready(self) -> bool:
        """Always."""
        return True

    def send(self, vector: Tensor, tag: Any) -> None:
        """Copy now; on a device other than the CPU this waits for it."""
        self._arrived.append((vector.detach().to("cpu", copy=True), tag))

    def poll(self, wait: bool = False) -> list[tuple[Tensor, Any]]:
        """All that was sent."""
        arrived, self._arrived = self._arrived, []
        return arrived


@dataclass
class _Slot:
    pinned: Tensor
    event: torch.cuda.Event
    tag: Any


class CudaTransfer(Transfer):
    """CUDA: asynchronous copies into pinned slots, each with an event that is polled."""

    def __init__(self) -> None:
        self._free: list[tuple[Tensor, torch.cuda.Event]] = []
        self._flying: deque[_Slot] = deque()

    @property
    def idle(self) -> bool:
        """No copy is under way."""
        return not self._flying

    def ready(self) -> bool:
        """A slot is free and no CUDA graph is being captured."""
        return len(self._flying) < SLOTS and not torch.cuda.is_current_stream_capturing()

    def send(self, vector: Tensor, tag: Any) -> None:
        """Queue the copy behind the work already queued; returns at once."""
        pinned, event = self._take(vector.numel())
        pinned.copy_(vector, non_blocking=True)
        event.record()
        self._flying.append(_Slot(pinned, event, tag))

    def poll(self, wait: bool = False) -> list[tuple[Tensor, Any]]:
        """Slots whose event is done; a query takes about a microsecond."""
        arrived = []
        while self._flying and (wait or self._flying[0].event.query()):  # type: ignore[no-untyped-call]
            slot = self._flying.popleft()
            if wait:
                slot.event.synchronize()
            arrived.append((slot.pinned.clone(), slot.tag))
            self._free.append((slot.pinned, slot.event))
        return arrived

    def _take(self, size: int) -> tuple[Tensor, torch.cuda.Event]:
        while self._free:
            pinned, event = self._free.pop()
            if pinned.numel() == size:
                return pinned, event
        return torch.empty(size, pin_memory=True), torch.cuda.Event()  # type: ignore[no-untyped-call]


class LaggedTransfer(Transfer):
    """Gives a copy at a fixed poll after it was sent, not when it happens to be there.

    Copies land at different steps on different ranks, but all must decide at the same one.

    Args:
        inner: makes the copies.
        polls: polls that give nothing; then it waits, if the copy is not there yet.
    """

    def __init__(self, inner: Transfer, polls: int) -> None:
        self._inner = inner
        self._polls = polls
        self._left = 0
        self._held: list[tuple[Tensor, Any]] = []

    def ready(self) -> bool:
        """As the inner one."""
        return self._inner.ready()

    def send(self, vector: Tensor, tag: Any) -> None:
        """As the inner one."""
        self._left = self._polls
        self._inner.send(vector, tag)

    def poll(self, wait: bool = False) -> list[tuple[Tensor, Any]]:
        """Nothing, until it is time for all."""
        self._left -= 1
        if self._left >= 0 and not wait:
            return []
        held, self._held = self._held, []
        return held + self._inner.poll(wait=True)

    def peek(self) -> list[tuple[Tensor, Any]]:
        """Wait for what is under way, which will come at its poll all the same."""
        self._held += self._inner.poll(wait=True)
        return list(self._held)


def transfer_for(device: torch.device, together: bool = False) -> Transfer:
    """The transfer for a device; ``together``: one that gives at the same step on all ranks."""
    if not together:
        return CudaTransfer() if device.type == "cuda" else DirectTransfer()
    return LaggedTransfer(transfer_for(device), LAG if device.type == "cuda" else 0)
