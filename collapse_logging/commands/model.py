"""The doctor's look at a model, through the very capture that a training uses."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import require_count
from ..capture import Capture, likely_paths
from ..posterior import Posterior
from .finding import Finding
from .words import counted

_BATCH = 8
_BY_HAND = (
    "If the posterior is made elsewhere, call monitor.observe(name, mean, log_variance) in the "
    "training step; nothing needs to be found then.",
)
_OTHER_INPUT = (
    "--input-shape is the shape of one sample; give it once for each argument of forward.",
    "Of a LightningModule without a forward, give the part that it trains.",
)


def examine_model(
    spec: str,
    init: str,
    latents: Sequence[str] | None,
    input_shapes: Sequence[str] | None,
    tokens: int | None,
) -> Iterator[Finding]:
    """What of a model could be watched, and what a forward gives.

    Args:
        spec: ``"MODULE:CLASS"``, imported because the user typed it.
        init: JSON object of keyword arguments.
        latents: module paths, or None to search as the detector does.
        input_shapes: one a forward argument, ``"1,28,28"``, without the batch.
        tokens: integers below it as input.

    Raises:
        ValueError: a malformed argument.
    """
    arguments = _arguments(init)
    shapes = [_shape(text) for text in input_shapes or ()]
    if tokens is not None:
        require_count("--tokens", tokens, at_least=1)
    try:
        model = _called(spec)(**arguments)
    except Exception as error:  # the user's own code may raise anything
        yield Finding(False, f"{spec} with {init} raised {_named(error)}.")
        return
    if not isinstance(model, nn.Module):
        yield Finding(False, f"{spec} gave a {type(model).__name__}, not a torch.nn.Module.")
        return
    yield Finding(True, f"{spec} was built: {_size(model)}.")
    yield Finding(None, "modules that sound like a posterior, or the first:", _paths(model))
    yield from _forward(model, list(latents) if latents else None, shapes, tokens)


def _forward(
    model: nn.Module, latents: list[str] | None, shapes: list[tuple[int, ...]], tokens: int | None
) -> Iterator[Finding]:
    """Run it on noise under a capture, as in a training step, and say what was seen."""
    seen: dict[str, Posterior] = {}
    try:
        capture = Capture(model.train(), latents, seen.__setitem__)
    except (TypeError, ValueError) as error:
        yield Finding(False, str(error))
        return
    inputs = _inputs(model, shapes, tokens)
    if not inputs:
        text = "no forward was run: give --input-shape, the shape of one sample."
        yield Finding(None, text, ("e.g. --input-shape 64, or --input-shape 1,28,28",))
        return
    given = ", ".join(str(list(x.shape)) for x in inputs)
    try:
        model(*inputs)
        capture.settle()
    except ValueError as error:
        yield Finding(False, str(error), _BY_HAND)
        return
    except Exception as error:
        yield Finding(False, f"its forward on {given} raised {_named(error)}.", _OTHER_INPUT)
        return
    yield Finding(True, f"its forward ran on {given}.")
    yield from _found(model, latents, seen)


def _found(
    model: nn.Module, latents: list[str] | None, seen: dict[str, Posterior]
) -> Iterator[Finding]:
    """Each latent that was seen, and how to name them."""
    for path in latents or ():
        if path not in seen:
            yield Finding(False, f"module {path!r} did not run in this forward.", _BY_HAND)
    for name, posterior in seen.items():
        shape = list(posterior.mean.shape)
        yield Finding(True, f"latent {name!r}: mean and log_variance {shape}.")
        if not posterior.mean.requires_grad:
            text = f"latent {name!r}: its mean has no gradient, so growth cannot be measured."
            yield Finding(False, text, ("is it made under no_grad, or detached?",))
    if seen and all(name in dict(model.named_modules()) for name in seen):
        what = repr(next(iter(seen)) if len(seen) == 1 else list(seen))
        lines = (f"PosteriorCollapseDetector(latents={what})", f"monitor.watch(model, {what})")
        yield Finding(None, "to paste:", lines)
    elif seen:
        source = "its _last_z_list" if _has_list(model) else "what the model itself returns"
        lines = ("PosteriorCollapseDetector()", "monitor.watch(model)")
        yield Finding(None, f"read from {source}, which needs no name. To paste:", lines)


def _has_list(model: nn.Module) -> bool:
    return any("_last_z_list" in vars(module) for module in model.modules())


def _arguments(init: str) -> dict[str, Any]:
    try:
        values = json.loads(init)
    except ValueError as error:
        raise ValueError(f"--init: expected a JSON object, got {init!r}: {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"--init: expected a JSON object such as '{{\"units\": 8}}', got {init}.")
    return values


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--input-shape: expected numbers such as 64 or 1,28,28, got {text!r}.")
    return tuple(int(part) for part in parts)


def _called(spec: str) -> Callable[..., Any]:
    """What MODULE:CLASS names; the working folder is on the path, as under ``python -m``."""
    module_name, _, name = spec.partition(":")
    if not module_name or not name or module_name.endswith(".py") or "/" in module_name:
        raise ValueError(f"expected MODULE:CLASS, e.g. project.model:VAE, got {spec!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = importlib.import_module(module_name)
    if not hasattr(module, name):
        there = [
            k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, nn.Module)
        ]
        raise ValueError(f"{module_name} has no {name!r}; its models: {there}")
    called: Callable[..., Any] = getattr(module, name)
    return called


def _inputs(model: nn.Module, shapes: list[tuple[int, ...]], tokens: int | None) -> list[Tensor]:
    """A batch of noise or tokens a shape; else Lightning's ``example_input_array``."""
    torch.manual_seed(0)
    if tokens is not None:
        return [torch.randint(tokens, (_BATCH, *shape)) for shape in shapes]
    example = getattr(model, "example_input_array", None)
    if not shapes and isinstance(example, Tensor):
        return [example]
    return [torch.randn(_BATCH, *shape) for shape in shapes]


def _paths(model: nn.Module) -> tuple[str, ...]:
    paths = ", ".join(repr(path) for path in likely_paths(model)) or "none: it has no submodules"
    there = "there" if _has_list(model) else "not there (before a forward)"
    return (paths, f"_last_z_list: {there}")


def _size(model: nn.Module) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{parameters:,} parameters in {counted(len(list(model.modules())), 'module')}"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")
