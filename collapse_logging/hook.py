"""A forward hook that sees the training's own forwards and no others."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from .forms import Form
from .outputs import posterior_of, recognised, refusal
from .posterior import Posterior
from .traced import Trace


class Swap:
    """Which latent's posteriors are dealt to other rows just now, while the decoder is probed."""

    def __init__(self) -> None:
        self.probing = False
        self._latent: str | None = None
        self._deal: Callable[[object], object] = lambda output: output

    @contextlib.contextmanager
    def of(self, latent: str | None, deal: Callable[[object], object]) -> Iterator[None]:
        """Within it nothing counts, and the latent's module gives ``deal(output)``."""
        self.probing, self._latent, self._deal = True, latent, deal
        try:
            # a compiled graph does not ask hooks, and one more for each latent is not worth it
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            self.probing, self._latent = False, None

    def output(self, latent: str, output: object) -> object:
        """What the module is to give instead, None: its own output."""
        return self._deal(output) if latent == self._latent else None


class Hook:
    """Passes a module's training outputs on; copies and pickles of it do nothing.

    Not counted are forwards under ``no_grad`` or inference mode, in ``eval()``, of a copy of the
    module, while the decoder is probed, and one of the two runs of activation checkpointing.

    Args:
        module: the module that the hook is registered on.
        root: the model, whose mode counts.
        name: the latent's, or the module's path.
        take: called with the hook and the module's output.
        swap: replaces the output while this latent is probed.
        trace: keeps what the module gives inside a compiled graph; None: nothing.
        form: how the posterior is read of the output; None: as it is recognised.

    Attributes:
        name: as given.
        take: as given.
        trace: as given.
        form: as given, or as it was recognised at the first batch.
        required: whether an output without a posterior is refused.
    """

    def __init__(
        self,
        module: nn.Module,
        root: nn.Module,
        name: str,
        take: Callable[[Hook, object], None],
        swap: Swap,
        trace: Trace | None = None,
        form: Form | None = None,
    ) -> None:
        self.name = name
        self.form = form
        self.take = take
        self.trace = trace
        self.required = False
        self._module = weakref.ref(module)
        self._root = weakref.ref(root)
        self._swap = swap
        self._deferred = 0
        self._handle = module.register_forward_hook(self)
        # around a compiled module hooks run as ever, and neither they nor what they call is traced
        self._run = torch.compiler.disable(self._pass_on)  # type: ignore[no-untyped-call]
        skip_code = getattr(torch._dynamo.eval_frame, "skip_code", None)  # not public
        if skip_code is not None:
            skip_code(Hook.__call__.__code__)

    def __call__(self, module: nn.Module, inputs: object, output: object) -> object:
        """Pass a training output on; gives another output where it is probed or compiled."""
        if torch.compiler.is_compiling():
            return self._trace(module, output)
        return self._run(module, output)

    def remove(self) -> None:
        """Take it off the module."""
        self._handle.remove()

    def _pass_on(self, module: nn.Module, output: object) -> object:
        root = self._root()
        if module is not self._module() or root is None:
            return None
        if self._swap.probing:
            return self._swap.output(self.name, output)
        if not root.training:
            return None
        if torch._C._current_graph_task_id() != -1:  # run again by activation checkpointing
            counts = self._deferred > 0
            self._deferred -= counts
        else:
            counts = torch.is_grad_enabled()
            self._deferred += _in_checkpoint()
        if counts:
            self.take(self, output)
        return None

    def _trace(self, module: nn.Module, output: object) -> object:
        """Read while a graph is built, and never run."""
        if self.trace is None or not torch.is_grad_enabled() or self.trace.exporting():
            return None
        root = self._root()
        if module is not self._module() or root is None or not root.training:
            return None
        form = self.form or recognised(output, by_value=False)
        self.trace.build()
        posterior = None if form is None else posterior_of(output, form)
        if isinstance(posterior, Posterior) and form is not None:
            return self.trace.keep(output, form, posterior, said=self.form is not None)
        if self.required:
            raise TypeError(refusal(self.name, output, self.form))
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is inert."""
        return (_inert_hook, ())


class _InertHook:
    def __call__(self, module: nn.Module, inputs: object, output: object) -> None:
        """Do nothing."""


def _inert_hook() -> _InertHook:
    return _InertHook()


def _in_checkpoint() -> bool:
    """In the first run of reentrant activation checkpointing; the second has the gradient.

    Unlike ``no_grad``, a custom autograd function also switches forward-mode gradients off.
    """
    off = not torch.is_grad_enabled() and not torch._C._is_fwd_grad_enabled()
    return off and not torch.is_inference_mode_enabled()
