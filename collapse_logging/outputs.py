"""What a module's output is: the posterior in it, or what else it is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from . import families
from .evidence import kind_of, sampled_form
from .family import Family
from .forms import Form, Key, by_names, meaning
from .moments import halves, log_variance_of
from .posterior import Posterior, as_posterior

_MOST_PARTS = 5


def recognised(output: object, *, by_value: bool = True) -> Form | None:
    """Where the posterior in an output is, or None.

    A distribution, ``(mean, log_variance)`` or ``(mean, scale)``, these after or before a sample
    or whatever else, fields named like ``mu`` and ``logvar``; or one of these as a part.

    Args:
        output: what a module returned.
        by_value: look at how the parts were made, and at their values; else what stands unnamed
            beside a mean is a log-variance.
    """
    if isinstance(output, (Distribution, Family)):
        return Form("distribution") if _posterior(output, Form("distribution")) else None
    fields = _fields(output)
    form = by_names(fields)
    if form is not None and _posterior(output, form) is not None:
        return form
    if isinstance(output, (tuple, list)):
        return _of_tuple(list(output), by_value)
    inner = [
        _within(name, recognised(part, by_value=by_value))
        for name, part in fields.items()
        if meaning(name) == "distribution"
    ]
    return _only(inner, len(fields))


def posterior_of(output: object, form: Form) -> Posterior | Family | None:
    """The posterior that is there in this form, or None where there is none, or it is unclear."""
    if isinstance(output, Posterior):
        return output
    return None if form.kind == "unclear" else _posterior(output, form)


def with_mean(output: Any, form: Form, mean: Tensor) -> object:
    """The same output with another tensor for its mean; None: an object, changed in place."""
    if form.kind == "moments":
        axis = _axis(_at(output, form.mean), form)
        rest = _at(output, form.mean).chunk(2, axis)[1]
        mean = torch.cat([mean.movedim(-1, axis) if _moved(mean, axis) else mean, rest], axis)
    return _put(output, form.mean, mean)


def describe(output: object) -> str:
    """What was returned, for an error message."""
    if isinstance(output, Tensor):
        return f"one tensor {list(output.shape)}"
    fields = {} if isinstance(output, Distribution) else _fields(output)
    shown = [f"{name}={describe(part)}" for name, part in list(fields.items())[:_MOST_PARTS]]
    if not shown and isinstance(output, (tuple, list)):
        shown = [describe(part) for part in output[:_MOST_PARTS]]
    return f"{type(output).__name__}({', '.join(shown)})" if shown else type(output).__name__


def refusal(name: str, output: object, form: Form | None = None) -> str:
    """Why a watched module's output cannot be read, and what to do."""
    if form is not None and form.kind == "unclear":
        return (
            f"latent {name!r}: expected to see what stands beside the mean, got what is positive: "
            f"a variance or a scale. Say which: latents={{{name!r}: 'PATH as {_said(form)}'}}, or "
            "with scale instead of variance."
        )
    if form is not None:
        return (
            f"latent {name!r}: expected its module's output to have the parts that latents= says "
            f"after 'as', got {describe(output)}; name them as they are there, e.g. 'PATH as "
            "mean=mu, log_variance=logvar'."
        )
    one = ", say 'PATH as moments' if it is mean and log-variance in one" * isinstance(
        output, Tensor
    )
    return (
        f"latent {name!r}: expected its module to return (mean, log_variance) or a Normal "
        f"distribution, got {describe(output)}{one}; watch a module that does, say which parts "
        "they are, e.g. latents={'z': 'PATH as mean=mu, scale=s'}, or call "
        "monitor.observe(name, mean, log_variance) yourself."
    )


def _of_tuple(parts: list[Any], by_value: bool) -> Form | None:
    whole = [
        _within(place, recognised(part, by_value=by_value))
        for place, part in enumerate(parts)
        if isinstance(part, Distribution) or (part is not None and not isinstance(part, _PLAIN))
    ]
    if any(whole):
        return _only(whole, len(parts))
    if len(parts) not in (2, 3):
        return None
    shapes = [part.shape if _could_be(part) else None for part in parts]
    if len(parts) == 3 and by_value and shapes[0] is not None and len(set(shapes)) == 1:
        sampled = sampled_form((parts[0], parts[1], parts[2]))
        if sampled is not None:
            kind, mean, spread = sampled
            return Form(kind, (mean,), (spread,), alone=False)
    last = len(parts) - 1
    if shapes[last] is None or shapes[last] != shapes[last - 1]:
        last = 1
    if shapes[last] is None or shapes[last] != shapes[last - 1]:
        return None
    kind = kind_of(parts[last]) if by_value else "log_variance"
    form = Form(kind, (last - 1,), (last,), alone=len(parts) == 2)
    return form if kind == "unclear" or _posterior(parts, form) else None


_PLAIN = (Tensor, tuple, list, str, int, float, dict)


def _within(key: str | int, form: Form | None) -> Form | None:
    """The form as seen from outside."""
    if form is None:
        return None
    spread = (key, *form.spread) if form.spread else ()
    return dataclasses.replace(form, mean=(key, *form.mean), spread=spread)


def _only(forms: list[Form | None], parts: int) -> Form | None:
    """The one that there is; with other parts beside it the mean may have been used."""
    found = [form for form in forms if form is not None]
    if len(found) != 1:
        return None
    return dataclasses.replace(found[0], alone=found[0].alone and parts == 1)


def _posterior(output: object, form: Form) -> Posterior | Family | None:
    mean = _at(output, form.mean)
    try:
        if form.kind == "distribution":
            if isinstance(mean, Distribution):
                return families.family_of(mean) or as_posterior(mean)
            return mean if isinstance(mean, Family) else None
        if form.kind == "codes":
            return families.Codebook(mean, form.size)
        if form.kind == "moments":
            return halves(mean, _axis(mean, form)) if isinstance(mean, Tensor) else None
        spread = _at(output, form.spread)
        if not (_could_be(mean) and isinstance(spread, Tensor) and spread.is_floating_point()):
            return None
        if spread.shape != mean.shape:
            spread = spread.expand_as(mean)
        return as_posterior(mean, log_variance_of(spread, form.kind))
    except (TypeError, ValueError, RuntimeError):  # no distribution of ours, no shape of a latent
        return None


def _at(output: Any, key: Key) -> Any:
    for part in key:
        if isinstance(part, int):
            placed = isinstance(output, (tuple, list)) and -len(output) <= part < len(output)
            output = output[part] if placed else None
        elif isinstance(output, Mapping):
            output = output.get(part)
        else:
            output = getattr(output, part, None)
    return output


def _put(output: Any, key: Key, value: Tensor) -> object:
    """The output with another value there; None: it is in an object, which was changed."""
    if not key:
        if not isinstance(output, Distribution):
            return value
        base: Any = output
        while hasattr(base, "base_dist"):
            base = base.base_dist
        base.loc = value
        return None
    inner = _put(_at(output, key[:1]), key[1:], value)
    if inner is None:
        return None
    if isinstance(output, (tuple, list)):
        place = output._fields.index(key[0]) if hasattr(output, "_fields") else key[0]
        parts = [inner if i == place else part for i, part in enumerate(output)]
        made: Any = type(output)
        return made(*parts) if hasattr(output, "_fields") else made(parts)
    if isinstance(output, Mapping):
        if type(output) is dict:  # torch.compile does not follow its copy
            return {**output, key[0]: inner}
        changed: Any = copy.copy(output)
        changed[key[0]] = inner
        return changed
    setattr(output, str(key[0]), inner)
    return None


def _fields(output: Any) -> dict[str, Any]:
    """Names and parts of a dictionary, a named tuple or an object of small parts."""
    if isinstance(output, Mapping):
        return {name: part for name, part in output.items() if isinstance(name, str)}
    if hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    plain = isinstance(output, (*_PLAIN, torch.nn.Module, Family)) or output is None
    return {} if plain else dict(getattr(output, "__dict__", {}))


def _could_be(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim in (2, 3, 4)


def _axis(moments: Tensor, form: Form) -> int:
    if form.axis is not None:
        return form.axis % moments.ndim
    return 1 if moments.ndim == 4 else moments.ndim - 1


def _moved(mean: Tensor, axis: int) -> bool:
    return mean.ndim == 3 and axis == 1


def _said(form: Form) -> str:
    return f"mean={'.'.join(map(str, form.mean))}, variance={'.'.join(map(str, form.spread))}"
