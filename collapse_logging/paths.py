"""Which modules are meant: latents by module path, and what to say where none is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from torch import nn

from .arguments import got

_LIKELY = ("enc", "mu", "mean", "logvar", "log_var", "posterior", "latent", "to_z", "moments")


def name_paths(latents: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Latent names and module paths from what the user typed.

    Raises:
        TypeError: not a path, a list of paths or a mapping name -> path.
    """
    if isinstance(latents, str):
        return {latents: latents}
    listed = latents if isinstance(latents, Sequence) else ()
    pairs = latents.items() if isinstance(latents, Mapping) else [(path, path) for path in listed]
    if not pairs or not all(isinstance(part, str) for pair in pairs for part in pair):
        raise TypeError(
            "latents: expected a module path, a list of paths or a mapping name -> path, e.g. "
            f"latents='encoder' or latents={{'z': 'encoder'}}, got {got(latents)}."
        )
    return dict(pairs)


def likely_paths(model: nn.Module) -> list[str]:
    """Up to ten module paths that sound like a posterior, or else the first ten."""
    paths = [path for path, _ in model.named_modules() if path]
    likely = [p for p in paths if any(word in p.lower() for word in _LIKELY)]
    return (likely or paths)[:10]


def unknown_path(path: str, model: nn.Module) -> str:
    """That no module has this path, with the nearest one and what could be meant."""
    paths = [p for p, _ in model.named_modules() if p]
    near = difflib.get_close_matches(path, paths, n=1)
    hint = f" Did you mean latents={near[0]!r}?" if near else ""
    shown = likely_paths(model)
    return f"latents: no module {path!r} in {type(model).__name__}.{hint} Candidates: {shown}."


def undecided(found: int, candidates: list[str]) -> str:
    """That none or several modules could be meant, with what to write."""
    if found:
        return (
            f"latents: {found} modules give a posterior and any could be meant. Say which, "
            f"e.g. latents={candidates!r} for all of them."
        )
    return (
        "latents: no module of the model returned (mean, log_variance) or a Normal distribution, "
        "and there is no _last_z_list. Either pass the path of a module that does, e.g. "
        f"latents={(candidates or ['encoder'])[0]!r} (candidates: {candidates}), or call "
        "monitor.observe(name, mean, log_variance) yourself."
    )
