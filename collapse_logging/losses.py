"""The reconstruction loss of each step of a window, on the device."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor

from .arguments import got

_LARGEST = torch.finfo(torch.float32).max


class Losses:
    """Notes a scalar a step without waiting for it; NaN where none was given."""

    def __init__(self) -> None:
        self._held: Tensor | None = None
        self._slots: tuple[Tensor, ...] = ()

    def note(self, loss: Tensor | float, step: int, frequency: int, device: torch.device) -> None:
        """Note the loss of the ``step``-th step of the window, from 0.

        Args:
            loss: a scalar.
            step: steps of the window before this one.
            frequency: steps that a window is expected to have.
            device: where to hold a loss that is a number.
        """
        device = loss.device if isinstance(loss, Tensor) else device
        if step >= len(self._slots) or self._slots[0].device != device:
            with torch.inference_mode(False), torch.no_grad():
                self._make_room(step, frequency, device)
        if isinstance(loss, Tensor):
            loss = loss.detach()
            self._slots[step].copy_(loss if loss.ndim == 0 else loss.reshape(()))
        else:
            self._slots[step].fill_(of_32_bits(loss))

    def first(self, steps: int) -> Tensor | None:
        """Those of the window's first ``steps`` steps; None if none was ever given."""
        return None if self._held is None else self._held[:steps]

    def reset(self) -> None:
        """Forget them, for the next window."""
        if self._held is not None:
            self._held.fill_(math.nan)

    def state(self) -> Tensor | None:
        """A copy of them."""
        return None if self._held is None else self._held.cpu().clone()

    def load(self, state: Tensor | None) -> None:
        """Continue from :meth:`state`."""
        self._held = None if state is None else state.clone()
        self._slots = () if self._held is None else self._held.unbind(0)

    def _make_room(self, step: int, frequency: int, device: torch.device) -> None:
        held = torch.empty(0, device=device) if self._held is None else self._held
        held = torch.empty(0, device=device) if held.is_meta else held.to(device)
        room = max(frequency, 2 * step, held.numel()) - held.numel()
        self._held = torch.cat([held, torch.full((room,), math.nan, device=device)])
        self._slots = self._held.unbind(0)


def of_32_bits(value: float) -> float:
    """A number, also NumPy's, as the device can hold it; NaN for one that it cannot."""
    value = float(value)
    return value if abs(value) <= _LARGEST else math.nan


def check_scalars(**values: object) -> None:
    """Raise unless a step's values are each a number, a tensor of one element or None."""
    for name, value in values.items():
        if value is not None:
            _check_scalar(name, value)


def _check_scalar(name: str, value: object) -> None:
    if isinstance(value, Tensor) and not value.is_complex():
        if value.is_nested or value.layout != torch.strided or value.numel() != 1:
            shape = "one that is not dense" if value.is_nested else list(value.shape)
            raise ValueError(f"{name}: expected a scalar, got {shape}; take its mean or sum first.")
    elif not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name}: expected a number or a scalar tensor, got {got(value)}; take the step's "
            "mean or sum."
        )
