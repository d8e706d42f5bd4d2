"""The doctor's look at a model, through the very capture that a training uses."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import require_count
from ..capture import Capture
from ..family import Family
from ..paths import likely_paths
from ..posterior import Posterior
from ..words import word
from .finding import Finding
from .words import Say, counted

_BATCH = 8


def examine_model(
    spec: str,
    init: str,
    latents: Sequence[str] | None,
    input_shapes: Sequence[str] | None,
    tokens: int | None,
    language: str = "en",
) -> Iterator[Finding]:
    """What of a model could be watched, and what a forward gives.

    Args:
        spec: ``"MODULE:CLASS"``, imported because the user typed it.
        init: JSON object of keyword arguments.
        latents: module paths, or None to search as the detector does.
        input_shapes: one a forward argument, ``"1,28,28"``, without the batch.
        tokens: integers below it as input.
        language: of what is found.

    Raises:
        ValueError: a malformed argument.
    """
    say = partial(word, language)
    arguments = _arguments(init)
    shapes = [_shape(text) for text in input_shapes or ()]
    if tokens is not None:
        require_count("--tokens", tokens, at_least=1)
    try:
        model = _called(spec)(**arguments)
    except Exception as error:  # the user's own code may raise anything
        yield Finding(False, say("raised", spec=spec, init=init, error=_named(error)))
        return
    if not isinstance(model, nn.Module):
        yield Finding(False, say("no model", spec=spec, kind=type(model).__name__))
        return
    yield Finding(True, _built(spec, model, language))
    yield Finding(None, say("likely"), _paths(model, say))
    yield from _forward(model, list(latents) if latents else None, shapes, tokens, say)


def _forward(
    model: nn.Module,
    latents: list[str] | None,
    shapes: list[tuple[int, ...]],
    tokens: int | None,
    say: Say,
) -> Iterator[Finding]:
    """Run it on noise under a capture, as in a training step, and say what was seen."""
    seen: dict[str, Posterior | Family] = {}
    try:
        capture = Capture(model.train(), latents, seen.__setitem__)
    except (TypeError, ValueError) as error:
        yield Finding(False, str(error))
        return
    inputs = _inputs(model, shapes, tokens)
    if not inputs:
        yield Finding(None, say("no forward"), (say("shapes"),))
        return
    given = ", ".join(str(list(x.shape)) for x in inputs)
    try:
        model(*inputs)
        capture.settle()
    except ValueError as error:
        yield Finding(False, str(error), (say("by hand"),))
        return
    except Exception as error:
        text = say("forward raised", inputs=given, error=_named(error))
        yield Finding(False, text, (say("other input"), say("other model")))
        return
    yield Finding(True, say("forward ran", inputs=given))
    yield from _found(model, latents, seen, say)


def _found(
    model: nn.Module, latents: list[str] | None, seen: dict[str, Posterior | Family], say: Say
) -> Iterator[Finding]:
    """Each latent that was seen, and how to name them."""
    for path in latents or ():
        if path not in seen:
            yield Finding(False, say("did not run", path=path), (say("by hand"),))
    for name, posterior in seen.items():
        shape = list(posterior.tensors[0].shape)
        yield Finding(True, say("seen", name=name, shape=shape))
        if isinstance(posterior, Posterior) and not posterior.mean.requires_grad:
            yield Finding(False, say("no gradient", name=name), (say("detached"),))
    if seen and all(name in dict(model.named_modules()) for name in seen):
        what = repr(next(iter(seen)) if len(seen) == 1 else list(seen))
        lines = (f"PosteriorCollapseDetector(latents={what})", f"monitor.watch(model, {what})")
        yield Finding(None, say("to paste"), lines)
    elif seen:
        source = say("from list" if _has_list(model) else "from model")
        lines = ("PosteriorCollapseDetector()", "monitor.watch(model)")
        yield Finding(None, say("read from", source=source), lines)


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


def _paths(model: nn.Module, say: Say) -> tuple[str, ...]:
    paths = ", ".join(repr(path) for path in likely_paths(model)) or say("no submodules")
    return (paths, say("list there" if _has_list(model) else "list not there"))


def _built(spec: str, model: nn.Module, language: str) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    modules = counted(language, len(list(model.modules())), "module")
    return word(language, "built", spec=spec, parameters=parameters, modules=modules)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")
