"""Which modules are meant: latents by module path, and what to say where none is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from torch import nn

from .arguments import got
from .forms import split_form

AUTO = "auto"
"""As ``latents``: the posteriors that the first batch shows, and a word on the choice."""

_LIKELY = ("enc", "mu", "mean", "logvar", "log_var", "posterior", "latent", "to_z", "moments")
_UNLIKELY = ("dec", "prior", "likelihood", "generat")


def name_paths(latents: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Latent names and what the user typed for each: a module path, or ``path as form``.

    Raises:
        TypeError: not a path, a list of paths or a mapping name -> path.
        ValueError: what is said after ``as`` is no form.
    """
    if isinstance(latents, str):
        return {split_form(latents)[0]: latents}
    listed = latents if isinstance(latents, Sequence) else ()
    pairs = latents.items() if isinstance(latents, Mapping) else [(path, path) for path in listed]
    if not pairs or not all(isinstance(part, str) for pair in pairs for part in pair):
        raise TypeError(
            "latents: expected a module path, a list of paths or a mapping name -> path, e.g. "
            f"latents='encoder' or latents={{'z': 'encoder'}}, got {got(latents)}."
        )
    return {
        name if isinstance(latents, Mapping) else split_form(name)[0]: path for name, path in pairs
    }


def watchable(model: object) -> nn.Module:
    """The module itself, without torch.compile's wrapper.

    Raises:
        TypeError: not a module, or a ``DataParallel``.
    """
    if not isinstance(model, nn.Module) or isinstance(model, nn.DataParallel):
        raise TypeError(
            f"model: expected a torch.nn.Module, got {type(model).__name__}; DataParallel runs "
            "copies, which cannot be watched: use DistributedDataParallel."
        )
    inner: nn.Module = getattr(model, "_orig_mod", model)
    return inner


def likely_paths(model: nn.Module) -> list[str]:
    """Up to ten module paths that sound like a posterior, or else the first ten."""
    paths = [path for path, _ in model.named_modules() if path]
    likely = [p for p in paths if any(word in p.lower() for word in _LIKELY)]
    return (likely or paths)[:10]


def probable(paths: Sequence[str]) -> list[str]:
    """Those of the paths that give a posterior which sound like no likelihood and no prior."""
    likely = [path for path in paths if not any(word in path.lower() for word in _UNLIKELY)]
    return likely or list(paths)


def unknown_path(path: str, model: nn.Module) -> str:
    """That no module has this path, with the nearest one and what could be meant."""
    paths = [p for p, _ in model.named_modules() if p]
    near = difflib.get_close_matches(path, paths, n=1)
    hint = f" Did you mean latents={near[0]!r}?" if near else ""
    shown = likely_paths(model)
    return f"latents: no module {path!r} in {type(model).__name__}.{hint} Candidates: {shown}."


def undecided(found: list[str], model: nn.Module) -> str:
    """That none or several modules could be meant, with what to write."""
    if found:
        return (
            f"latents: {len(found)} modules give a posterior and any could be meant. Say which, "
            f"e.g. latents={found!r} for all of them."
        )
    candidates = likely_paths(model)
    return (
        "latents: no module of the model returned (mean, log_variance) or a Normal distribution, "
        "and there is no _last_z_list. Either pass the path of a module that does, e.g. "
        f"latents={(candidates or ['encoder'])[0]!r} (candidates: {candidates}), with 'PATH as "
        "moments' if it returns both in one tensor, or call monitor.observe(name, mean, "
        "log_variance) yourself."
    )


def choice(chosen: list[str], found: list[str]) -> str:
    """What was chosen by itself, and why, with what to write instead."""
    left = [path for path in found if path not in chosen]
    why = f", and not {left}, which sound like a likelihood or a prior" if left else ""
    return (
        f"latents='auto': watching {chosen}, whose modules gave a posterior at the first "
        f"batch{why}. To choose yourself: latents={chosen!r}."
    )
