"""One number of a model, by its dotted name: to be read and set."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import got


def read(model: object, name: str) -> float:
    """The number; a tensor's one element."""
    owner, last = _owner(model, name)
    value = getattr(owner, last)
    return value.item() if isinstance(value, Tensor) else value


def write(model: object, name: str, value: float) -> None:
    """Set it; a tensor is filled, so that buffers stay what they are."""
    owner, last = _owner(model, name)
    now = getattr(owner, last)
    if isinstance(now, Tensor):
        with torch.no_grad():
            now.fill_(value)
    else:
        setattr(owner, last, value)


def require_settable(what: str, model: object, name: str) -> None:
    """Raise ValueError, with the numbers that there are, unless it is one that can be set."""
    try:
        owner, last = _owner(model, name)
        now = getattr(owner, last)
        if not _is_number(now):
            raise TypeError(f"it is {got(now)}")
        setattr(owner, last, now)
    except (AttributeError, TypeError) as error:
        there = _numbers(model)
        near = difflib.get_close_matches(name, there, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{what}: expected the dotted name of a number of {type(model).__name__} that can be "
            f"set, got {got(name)}: {error}.{hint} There are {there[:10]}."
        ) from error


def _owner(model: object, name: str) -> tuple[Any, str]:
    *path, last = name.split(".")
    owner: Any = model
    for part in path:
        owner = getattr(owner, part)
    return owner, last


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(model: object) -> list[str]:
    """Names of the numbers of a model and of its parts, torch's own layers aside."""
    parts = model.named_modules() if isinstance(model, nn.Module) else [("", model)]
    found = []
    for path, part in parts:
        if type(part).__module__.startswith("torch."):
            continue
        values = {**getattr(part, "__dict__", {}), **getattr(part, "_buffers", {})}
        names = [key for key, v in values.items() if not key.startswith("_") and _is_number(v)]
        found += [f"{path}.{key}".lstrip(".") for key in names]
    return found
