"""What stands beside a mean where no name says it: a log-variance, a variance or a scale?

The ways of autograd tell how it was made, and the values of one batch whether that can be. Both
are looked at once, at the first batch.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from .moments import log_variance_of

_POSITIVE = ("Exp", "Softplus", "Sqrt", "Sigmoid", "Pow", "Abs", "Relu", "Softmax", "Elu")
_MADE_OF_POSITIVE = ("Add", "Mul", "Div", "Reciprocal", "Clamp", "ClampMin", "Maximum", "Cat")
_AS_IT_WAS = (
    *("View", "ReshapeAlias", "UnsafeView", "AsStrided", "T", "Transpose", "Permute", "Expand"),
    *("Clone", "Slice", "Split", "Select", "Squeeze", "Unsqueeze", "ToCopy"),
)
_HALVES = {"Mul": 0.5, "Div": 2.0}
_DEPTH = 12


@torch.no_grad()
def kind_of(spread: Tensor) -> str:
    """``"log_variance"``, ``"scale"``, or ``"unclear"``: a variance or a scale.

    What is nowhere negative because it was made so, by exp, softplus and the like, is no logarithm;
    of a root, or of exp of a half, it is a scale. All else is a log-variance.
    """
    if not made_positive(spread.grad_fn) or not bool((spread > 0).all()):
        return "log_variance"
    return "scale" if _made_a_root(spread.grad_fn) else "unclear"


@torch.no_grad()
def sampled_form(parts: tuple[Tensor, Tensor, Tensor]) -> tuple[str, int, int] | None:
    """Kind of the spread and places of mean and spread, if the other of three parts is a sample.

    A sample's residual over the scale has the mean square 1. None, if that is so for no order
    ``(z, mean, spread)`` or ``(mean, spread, z)``, or for several; the usual ``(z, mean,
    log_variance)`` goes before the others.
    """
    fits: list[tuple[str, int, int]] = []
    tolerance = 5.0 * (2.0 / parts[0].numel()) ** 0.5
    orders = ((0, 1, 2), (2, 0, 1))
    for (z, mean, spread), kind in itertools.product(orders, ("log_variance", "variance", "scale")):
        log_variance = log_variance_of(parts[spread].double(), kind)
        residual = (parts[z].double() - parts[mean].double()) / (0.5 * log_variance).exp()
        square = residual.square().mean()
        possible = kind == "log_variance" or bool((parts[spread] > 0).all())
        if possible and abs(float(square) - 1.0) < tolerance:
            fits.append((kind, mean, spread))
    usual = ("log_variance", 1, 2)
    if usual in fits or len(fits) == 1:
        return usual if usual in fits else fits[0]
    return None


def made_positive(function: Any, depth: int = _DEPTH) -> bool:
    """Whether what this node of autograd's graph gave is positive by the way it was made."""
    if function is None or depth == 0:
        return False
    name, before = _name(function), [inner for inner, _ in function.next_functions]
    if name in _POSITIVE:
        return True
    if name in _MADE_OF_POSITIVE or name in _AS_IT_WAS:
        used = [inner for inner in before if inner is not None]  # a constant has no node
        return bool(used) and all(made_positive(inner, depth - 1) for inner in used)
    return False


def _made_a_root(function: Any, depth: int = _DEPTH) -> bool:
    name = "" if function is None or depth == 0 else _name(function)
    before = [inner for inner, _ in function.next_functions] if name else []
    if name == "Sqrt":
        return True
    if name == "Pow":
        return bool(function._saved_exponent == 0.5)
    if name == "Exp":
        inner = before[0]
        half = _HALVES.get(_name(inner)) if inner is not None else None
        other = getattr(inner, "_saved_other", None) if half else None
        return isinstance(other, Tensor) and other.numel() == 1 and float(other) == half
    if name in ("Add", "Clamp", "ClampMin") or name in _AS_IT_WAS:
        used = [inner for inner in before if inner is not None]
        return len(used) == 1 and _made_a_root(used[0], depth - 1)
    return False


def _name(function: Any) -> str:
    return str(function.name()).rpartition("::")[2].partition("Backward")[0]
