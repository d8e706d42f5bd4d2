"""Capture: posteriors from a model that was not changed, through forward hooks."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from .family import Family
from .hook import Hook, Swap
from .outputs import describe, posterior_of, refusal, uses_its_mean
from .paths import likely_paths, name_paths, undecided, unknown_path
from .posterior import Posterior
from .traced import Trace, is_of_graph, same

Observe = Callable[[str, Posterior | Family], None]
Grow = Callable[[str, Tensor], None]
Latents = str | Sequence[str] | Mapping[str, str] | None

_MOST_QUIET = 100
"""Calls of :meth:`Capture.settle` without an observation after which something is wrong."""

_log = logging.getLogger("collapse_logging")


def _ignore(*_: object) -> None:
    """What is read of it is not wanted."""


class Capture:
    """Watches a model's modules and gives every training posterior to ``observe``.

    Only forwards of the training itself count: not under ``no_grad`` or inference mode, not in
    ``eval()``, one of the two runs of activation checkpointing, not a deep copy of the model.

    Args:
        model: the model; nothing in it is changed but its hooks.
        latents: module path, list, mapping name -> path, or None: then ``_last_z_list`` (a list
            of ``(z, mean, log_variance)``) or the one module that gives a posterior.
        observe: takes each latent's name and posterior; the mean of one that ran in a compiled
            graph needs no gradient.
        grow: takes, in backward, the name and growth ``[units]`` of what ran in a compiled graph.
        wants: says whether this step is observed; else outputs are not looked at.

    Attributes:
        model: the model itself, without torch.compile's wrapper.
        latents: names of the latents whose modules are hooked; the decoder can be probed for
            these. Empty until the module is found, and with ``_last_z_list``.
        swap: deals a latent's posteriors to other rows while the decoder is probed.

    Raises:
        TypeError: not a module, or a ``DataParallel``.
        ValueError: a path that no module has, with the candidates.
    """

    def __init__(
        self,
        model: nn.Module,
        latents: Latents,
        observe: Observe,
        grow: Grow = _ignore,
        wants: Callable[[], bool] = lambda: True,
    ) -> None:
        if not isinstance(model, nn.Module) or isinstance(model, nn.DataParallel):
            raise TypeError(
                f"model: expected a torch.nn.Module, got {type(model).__name__}; DataParallel runs "
                "copies, which cannot be watched: use DistributedDataParallel."
            )
        model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper
        self.model = model
        self._observe, self._grow, self._wants = observe, grow, wants
        self.swap = Swap()
        self.latents: tuple[str, ...] = ()
        self._hooks: dict[Hook, Trace] = {}
        self._after: Hook | None = None
        self._found: dict[str, tuple[Posterior | Family, Hook]] = {}
        self._last_list: Callable[[], Tensor | None] = lambda: None
        self._searching, self._listed = latents is None, False
        self._quiet, self._told = 0, False
        self._taken: dict[str, bool] = {}  # by latent, whether something else came after it
        if latents is None:
            for path, module in model.named_modules():
                self._hook(module, path, self._candidate)
            self._follow()
            return
        modules = dict(model.named_modules(remove_duplicate=False))  # a shared one has two paths
        paths = name_paths(latents)
        for path in paths.values():
            if path not in modules:
                raise ValueError(unknown_path(path, model))
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
        self._read_graphs()
        if self._searching and self._last_z_list():
            self._decide(self._after)
            self._listed = True
        if self._listed:
            self._read_last_z_list()
        elif self._searching:
            if len(self._found) != 1:
                candidates = list(self._found) or likely_paths(self.model)
                self.remove()
                raise ValueError(undecided(len(self._found), candidates))
            ((path, (posterior, hook)),) = self._found.items()
            hook.name, hook.take = path or "z", self._known
            self.latents = (hook.name,)
            self._decide(hook)
            self._take(hook.name, posterior)

    def remove(self) -> None:
        """Take the hooks off again."""
        for hook in (*self._hooks, self._after):
            if hook is not None:
                hook.remove()
        self._hooks, self._after = {}, None

    def _hook(self, module: nn.Module, path: str, take: Callable[[Hook, object], None]) -> None:
        trace = Trace(self._follow, lambda growth: self._in_backward(hook, growth))
        hook = Hook(module, self.model, path, take, self.swap, trace)
        hook.required = not self._searching
        self._hooks[hook] = trace

    def _follow(self) -> None:
        """Read lists and graphs after each forward; for graphs, from when the first is built."""
        if self._after is None:
            self._after = Hook(self.model, self.model, "", self._after_forward, self.swap)

    def _decide(self, chosen: Hook | None) -> None:
        self._searching, self._found = False, {}
        for hook, trace in list(self._hooks.items()):
            if hook is not chosen and trace.in_graph:  # the graph would be built again without it
                hook.take = _ignore
            elif hook is not chosen:
                hook.remove()
                del self._hooks[hook]
        if self._after not in (None, chosen) and not any(t.in_graph for t in self._hooks.values()):
            self._after.remove()
            self._after = None

    def _known(self, hook: Hook, output: object) -> None:
        if not self._wants():
            self._quiet = 0
            return
        posterior = posterior_of(output)
        if posterior is not None:
            self._take(hook.name, posterior, uses_its_mean(output))
        elif hook.name not in self._taken:
            raise TypeError(refusal(hook.name, output))
        elif not self._taken[hook.name]:  # hours into a training it must not end it
            self._taken[hook.name] = True
            _log.warning(
                "%s It gave a posterior before; this is left out.", refusal(hook.name, output)
            )

    def _take(self, name: str, posterior: Posterior | Family, used: bool = False) -> None:
        self._quiet = 0
        self._taken.setdefault(name, False)
        if used and isinstance(posterior, Posterior) and is_of_graph(posterior.mean):
            self._no_growth(name)
            posterior = Posterior(posterior.mean.detach(), posterior.log_variance)
        self._observe(name, posterior)

    def _candidate(self, hook: Hook, output: object) -> None:
        self._read_graphs()  # what ran inside comes first
        posterior = posterior_of(output)
        if posterior is not None and not any(same(posterior, p) for p, _ in self._found.values()):
            self._found[hook.name] = (posterior, hook)

    def _after_forward(self, hook: Hook, output: object) -> None:
        self._read_graphs()
        if self._listed or (self._searching and (len(self._found) == 1 or self._last_z_list())):
            self.settle()

    def _read_graphs(self) -> None:
        for hook, trace in list(self._hooks.items()):
            for posterior in trace.pop():
                hook.take(hook, (posterior.mean, posterior.log_variance))

    def _in_backward(self, hook: Hook, growth: Tensor | None) -> None:
        for posterior in self._hooks[hook].pop():
            hook.take(hook, (posterior.mean, posterior.log_variance))
        if self._searching and len(self._found) == 1:
            self.settle()
        if hook.take == self._known:
            if growth is None:
                self._no_growth(hook.name)
            else:
                self._grow(hook.name, growth)

    def _no_growth(self, name: str) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "latent %r: growth is left out, and red comes later: the mean is used where it is "
                "made, inside a compiled graph, and its whole gradient does not leave it. Watch "
                "the module that returns (mean, log_variance) and nothing else.",
                name,
            )

    def _last_z_list(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        lists = (vars(module).get("_last_z_list") for module in self.model.modules())
        return next((entries for entries in lists if isinstance(entries, list) and entries), [])

    def _read_last_z_list(self) -> None:
        for i, entry in enumerate(entries := self._last_z_list()):
            name = "z" if len(entries) == 1 else f"z{i}"
            posterior = posterior_of(entry)
            if not isinstance(posterior, Posterior):
                raise TypeError(
                    f"latent {name!r}: expected _last_z_list to hold (z, mean, log_variance), got "
                    f"{describe(entry)}."
                )
            if not posterior.mean.requires_grad:  # a validation's
                return
            if i == 0 and posterior.mean is self._last_list():
                return
            if i == 0:
                self._last_list = weakref.ref(posterior.mean)
            self._take(name, posterior, used=True)
