"""Capture: posteriors from a model that was not changed, through forward hooks."""

from __future__ import annotations

import difflib
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils.hooks import RemovableHandle

from .arguments import got
from .hook import Hook, Swap
from .posterior import Posterior, as_posterior

Observe = Callable[[str, Posterior], None]
Latents = str | Sequence[str] | Mapping[str, str] | None

_MOST_QUIET = 100
"""Calls of :meth:`Capture.settle` without an observation after which something is wrong."""

_log = logging.getLogger("collapse_logging")

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


class Capture:
    """Watches a model's modules and gives every training posterior to ``observe``.

    Only forwards of the training itself count: not under ``no_grad`` or inference mode, not in
    ``eval()``, one of the two runs of activation checkpointing, not a deep copy of the model.

    Args:
        model: the model; nothing in it is changed but its hooks.
        latents: module path, list, mapping name -> path, or None: then ``_last_z_list`` (a list
            of ``(z, mean, log_variance)``) or the one module that gives a posterior.
        observe: takes each latent's name and posterior.

    Attributes:
        model: the model itself, without torch.compile's wrapper.
        latents: names of the latents whose modules are hooked; the decoder can be probed for
            these. Empty until the module is found, and with ``_last_z_list``.
        swap: deals a latent's posteriors to other rows while the decoder is probed.

    Raises:
        TypeError: not a module, or a ``DataParallel``.
        ValueError: a path that no module has, with the candidates.
    """

    def __init__(self, model: nn.Module, latents: Latents, observe: Observe) -> None:
        if not isinstance(model, nn.Module) or isinstance(model, nn.DataParallel):
            raise TypeError(
                f"model: expected a torch.nn.Module, got {type(model).__name__}; DataParallel runs "
                "copies, which cannot be watched: use DistributedDataParallel."
            )
        model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper
        self.model = model
        self._observe = observe
        self.swap = Swap()
        self.latents: tuple[str, ...] = ()
        self._handles: list[RemovableHandle] = []
        self._found: dict[str, tuple[Posterior, Any]] = {}
        self._last_list: Callable[[], Tensor | None] = lambda: None
        self._searching, self._listed = latents is None, False
        self._quiet = 0
        if latents is None:
            for path, module in model.named_modules():
                self._hook(module, path, self._candidate)
            self._hook(model, "", self._after_forward)
            return
        modules = dict(model.named_modules(remove_duplicate=False))  # a shared one has two paths
        paths = name_paths(latents)
        for path in paths.values():
            if path not in modules:
                raise ValueError(_unknown_path(path, model))
        for name, path in paths.items():
            self._hook(modules[path], name, self._known)
        self.latents = tuple(paths)

    def settle(self) -> None:
        """After a training forward: read ``_last_z_list``, or decide which module it was.

        Call it before backward, so that growth can be read from the first step on.

        Raises:
            ValueError: no module gave a posterior, or several did.
        """
        self._quiet += 1
        if self._quiet == _MOST_QUIET:
            _log.warning(
                "no watched latent was run in training mode for %d steps. If the model is compiled "
                "watch it before its first step, or call torch._dynamo.reset() after watch; if "
                "another part is trained, this is as it should be.",
                _MOST_QUIET,
            )
        if self._searching and self._last_z_list():
            self._decide(self.model, "", self._after_forward)
            self._listed = True
        if self._listed:
            self._read_last_z_list()
        elif self._searching:
            if len(self._found) != 1:
                candidates = list(self._found) or likely_paths(self.model)
                self.remove()
                raise ValueError(_undecided(len(self._found), candidates))
            ((path, (posterior, module)),) = self._found.items()
            self._decide(module, path or "z", self._known)
            self.latents = (path or "z",)
            self._take(path or "z", posterior)

    def remove(self) -> None:
        """Take the hooks off again."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, module: nn.Module, name: str, take: Callable[..., None]) -> None:
        hook = Hook(module, self.model, name, take, self.swap)
        self._handles.append(module.register_forward_hook(hook))

    def _decide(self, module: nn.Module, name: str, take: Callable[..., None]) -> None:
        self.remove()
        self._searching = False
        self._found = {}
        self._hook(module, name, take)

    def _known(self, name: str, module: nn.Module, output: object) -> None:
        posterior = posterior_of(output)
        if posterior is None:
            raise TypeError(
                f"latent {name!r}: expected its module to return (mean, log_variance) or a Normal "
                f"distribution, got {_describe(output)}; watch a module that does, or call "
                "monitor.observe(name, mean, log_variance) yourself."
            )
        self._take(name, posterior)

    def _take(self, name: str, posterior: Posterior) -> None:
        self._quiet = 0
        self._observe(name, posterior)

    def _candidate(self, path: str, module: nn.Module, output: object) -> None:
        posterior = posterior_of(output)
        seen = any(posterior and posterior.mean is p.mean for p, _ in self._found.values())
        if posterior is not None and not seen:
            self._found[path] = (posterior, module)

    def _after_forward(self, path: str, module: nn.Module, output: object) -> None:
        if self._listed or len(self._found) == 1 or self._last_z_list():
            self.settle()

    def _last_z_list(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        lists = (vars(module).get("_last_z_list") for module in self.model.modules())
        return next((entries for entries in lists if isinstance(entries, list) and entries), [])

    def _read_last_z_list(self) -> None:
        for i, entry in enumerate(entries := self._last_z_list()):
            name = "z" if len(entries) == 1 else f"z{i}"
            posterior = posterior_of(entry)
            if posterior is None:
                raise TypeError(
                    f"latent {name!r}: expected _last_z_list to hold (z, mean, log_variance), got "
                    f"{_describe(entry)}."
                )
            if not posterior.mean.requires_grad:  # a validation's
                return
            if i == 0 and posterior.mean is self._last_list():
                return
            if i == 0:
                self._last_list = weakref.ref(posterior.mean)
            self._take(name, posterior)


def posterior_of(output: object) -> Posterior | None:
    """The posterior in a module's output, or None.

    ``(mean, log_variance)``, ``(anything, mean, log_variance)`` or a Normal distribution.
    """
    if isinstance(output, Distribution):
        try:
            return as_posterior(output)
        except TypeError:
            return None
    if isinstance(output, (tuple, list)) and len(output) in (2, 3):
        mean, log_variance = output[-2:]
        if _could_be(mean) and _could_be(log_variance) and mean.shape == log_variance.shape:
            return as_posterior(mean, log_variance)
    return None


def _could_be(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim in (2, 3, 4)


def _describe(output: object) -> str:
    if isinstance(output, Tensor):
        return f"one tensor {list(output.shape)}"
    if isinstance(output, (tuple, list)):
        return f"{type(output).__name__}({', '.join(_describe(part) for part in output)})"
    return type(output).__name__


def likely_paths(model: nn.Module) -> list[str]:
    """Up to ten module paths that sound like a posterior, or else the first ten."""
    paths = [path for path, _ in model.named_modules() if path]
    likely = [p for p in paths if any(word in p.lower() for word in _LIKELY)]
    return (likely or paths)[:10]


def _unknown_path(path: str, model: nn.Module) -> str:
    paths = [p for p, _ in model.named_modules() if p]
    near = difflib.get_close_matches(path, paths, n=1)
    hint = f" Did you mean latents={near[0]!r}?" if near else ""
    shown = likely_paths(model)
    return f"latents: no module {path!r} in {type(model).__name__}.{hint} Candidates: {shown}."


def _undecided(found: int, candidates: list[str]) -> str:
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
