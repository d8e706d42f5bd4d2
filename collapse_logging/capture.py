"""Capture: posteriors from a model that was not changed, through forward hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from .family import Family
from .forms import Form, split_form
from .hook import Hook, Swap
from .listed import LastList
from .messages import NO_GROWTH, QUIET
from .outputs import posterior_of, recognised, refusal
from .paths import AUTO, choice, name_paths, probable, undecided, unknown_path, watchable
from .posterior import Posterior
from .traced import Trace, is_of_graph, same

Observe = Callable[[str, Posterior | Family], None]
Grow = Callable[[str, Tensor], None]
Take = Callable[[Hook, object], None]
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
        latents: module path, list, mapping name -> path, each with its form where the output does
            not show it (``"encoder as mean, scale"``, ``"quant_conv as moments"``); None: then
            ``_last_z_list`` (a list of ``(z, mean, log_variance)``) or the one module that gives
            a posterior; ``"auto"``: or all that do, but what sounds like a likelihood or a prior,
            with a word on the choice; or nothing, with a warning.
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
        self.model = model = watchable(model)
        self._observe, self._grow, self._wants = observe, grow, wants
        self.swap = Swap()
        self.latents: tuple[str, ...] = ()
        self._hooks: dict[Hook, Trace] = {}
        self._after: Hook | None = None
        self._found: dict[str, tuple[Posterior | Family | None, Hook]] = {}
        self._list = LastList(model)
        self._auto, self._listed = latents == AUTO, False
        self._searching = latents is None or self._auto
        self._quiet, self._told = 0, False
        self._taken: dict[str, bool] = {}  # by latent, whether something else came after it
        if latents is None or latents == AUTO:
            for path, module in model.named_modules():
                if not type(module).__module__.startswith("torch.nn."):  # an LSTM's pair is none
                    self._hook(module, path, self._candidate)
            self._follow()
            return
        modules = dict(model.named_modules(remove_duplicate=False))  # a shared one has two paths
        forms = {name: split_form(text) for name, text in name_paths(latents).items()}
        for path, _ in forms.values():
            if path not in modules:
                raise ValueError(unknown_path(path, model))
        for name, (path, form) in forms.items():
            self._hook(modules[path], name, self._known, form)
        self.latents = tuple(forms)

    def settle(self) -> None:
        """After a training forward: read ``_last_z_list``, or decide which module it was.

        Call it before backward, so that growth can be read from the first step on.

        Raises:
            ValueError: no module gave a posterior, or several did.
        """
        self._quiet += 1
        if self._quiet == _MOST_QUIET:
            _log.warning(QUIET, _MOST_QUIET)
        self._read_graphs()
        if self._searching and self._list:
            self._decide([self._after])
            self._listed = True
        if self._listed:
            for name, posterior in self._list.posteriors():
                self._take(name, posterior, used=True)
        elif self._searching:
            self._choose()

    def remove(self) -> None:
        """Take the hooks off again."""
        for hook in (*self._hooks, self._after):
            if hook is not None:
                hook.remove()
        self._hooks, self._after = {}, None

    def _hook(self, module: nn.Module, path: str, take: Take, form: Form | None = None) -> None:
        trace = Trace(self._follow, lambda growth: self._in_backward(hook, growth))
        hook = Hook(module, self.model, path, take, self.swap, trace, form)
        hook.required = not self._searching
        self._hooks[hook] = trace

    def _follow(self) -> None:
        """Read lists and graphs after each forward; for graphs, from when the first is built."""
        if self._after is None:
            self._after = Hook(self.model, self.model, "", self._after_forward, self.swap)

    def _choose(self) -> None:
        """Take the modules that gave a posterior for the latents."""
        paths = probable(list(self._found)) if self._auto else list(self._found)
        chosen = {path: self._found[path] for path in paths}
        unclear = [refusal(p or "z", None, h.form) for p, (seen, h) in chosen.items() if not seen]
        if not chosen or unclear or (len(chosen) > 1 and not self._auto):
            told = undecided(paths, self.model)
            self._give_up(TypeError(unclear[0]) if unclear else ValueError(told))
            return
        if self._auto:
            _log.warning("%s", choice(paths, list(self._found)))
        self._decide([hook for _, hook in chosen.values()])
        self.latents = tuple(path or "z" for path in paths)
        for name, (posterior, hook) in zip(self.latents, chosen.values(), strict=True):
            hook.name, hook.take = name, self._known
            if posterior is not None:
                self._take(name, posterior, used=hook.form is not None and not hook.form.alone)

    def _give_up(self, error: Exception) -> None:
        """Raise it; a training that asked for nothing in particular goes on with a warning."""
        self.remove()
        if not self._auto:
            raise error
        self._searching, self._quiet = False, _MOST_QUIET
        _log.warning("nothing is watched, and training goes on. %s", error)

    def _decide(self, chosen: Sequence[Hook | None]) -> None:
        self._searching, self._found = False, {}
        for hook, trace in list(self._hooks.items()):
            if hook not in chosen and trace.in_graph:  # the graph would be built again without it
                hook.take = _ignore
            elif hook not in chosen:
                hook.remove()
                del self._hooks[hook]
        after = self._after
        if after and after not in chosen and not any(t.in_graph for t in self._hooks.values()):
            after.remove()
            self._after = None

    def _known(self, hook: Hook, output: object) -> None:
        if not self._wants():
            self._quiet = 0
            return
        if isinstance(output, Posterior):  # of a compiled graph
            self._take(hook.name, output)
            return
        first = hook.name not in self._taken
        form = hook.form
        if form is None or (first and form.kind == "unclear"):
            form = hook.form = recognised(output)
        posterior = None if form is None else posterior_of(output, form)
        if posterior is not None and form is not None:
            self._take(hook.name, posterior, not form.alone)
        elif first:
            raise TypeError(refusal(hook.name, output, form))
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
        of_graph = isinstance(output, Posterior)
        form = Form("distribution") if of_graph else recognised(output)
        if form is None:
            return
        posterior = posterior_of(output, form)
        if posterior is None or not any(p and same(posterior, p) for p, _ in self._found.values()):
            hook.form = None if of_graph else form
            self._found[hook.name] = (posterior, hook)

    def _after_forward(self, hook: Hook, output: object) -> None:
        self._read_graphs()
        if self._listed or (self._searching and (self._is_clear or self._list)):
            self.settle()

    @property
    def _is_clear(self) -> bool:
        return len(self._found) == 1 or (self._auto and bool(self._found))

    def _read_graphs(self) -> None:
        for hook, trace in list(self._hooks.items()):
            for posterior in trace.pop():
                hook.take(hook, posterior)

    def _in_backward(self, hook: Hook, growth: Tensor | None) -> None:
        for posterior in self._hooks[hook].pop():
            hook.take(hook, posterior)
        if self._searching and self._is_clear:
            self.settle()
        if hook.take == self._known:
            if growth is None:
                self._no_growth(hook.name)
            else:
                self._grow(hook.name, growth)

    def _no_growth(self, name: str) -> None:
        if not self._told:
            self._told = True
            _log.warning(NO_GROWTH, name)
