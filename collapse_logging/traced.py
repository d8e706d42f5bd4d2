"""What a watched module leaves behind in a compiled graph.

torch.compile does not run a hook: it reads it once, while it builds the graph, and keeps its
tensor operations and the attributes that it sets. So what is seen of a batch becomes an output of
the graph, and the gradient of the mean, which never leaves the graph, is summed up inside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .family import Family
from .forms import Form
from .messages import UNSEEN
from .outputs import with_mean
from .posterior import Posterior, by_position

_MANY = 8
"""Units of which it is no chance that all log-variances of a batch are positive."""

_log = logging.getLogger("collapse_logging")

Kept = tuple[Tensor, Any]
"""``stack(mean, log_variance)`` of one run, and what was kept before it, or None."""


class Trace:
    """One watched module in compiled graphs: what its runs kept, and their growth.

    Args:
        built: called while a graph is built, in which the module is.
        arrived: called in backward with the growth of what ran since, ``[units]``; None where it
            is not known.

    Attributes:
        in_graph: whether a graph with the module was built.
        partial: whether the growth of the latest graph cannot be known.
    """

    def __init__(self, built: Callable[[], None], arrived: Callable[[Tensor | None], None]) -> None:
        self.in_graph = False
        self.partial = False
        self._built = built
        self._arrived = arrived
        self._sink: Tensor | None = None
        self._kept: Kept | None = None
        self._popped = False
        self._doubted = False
        # run while a graph is built, and not traced; a decorator would load the compiler at import
        for run in (Trace.exporting, Trace.build, Trace._prepare, Trace._doubt):
            torch.compiler.assume_constant_result(run)  # type: ignore[no-untyped-call]

    def keep(self, output: object, form: Form, posterior: Posterior, said: bool) -> object:
        """While a graph is built: keep a run's posterior; gives what to return instead, or None."""
        mean, both = posterior.mean, (posterior.mean.detach(), posterior.log_variance.detach())
        # what was kept before is not looked at: then no graph depends on it
        _set_anywhere(self._append, torch.stack(both))
        if posterior.whole is not None and form.kind == "distribution":
            mean = posterior.whole  # the same but for its unit, in which growth has none
        if not mean.requires_grad:
            return None
        self._prepare(posterior.positions_and_units[1], mean.device, not form.alone)
        self._doubt(not said and form.kind == "log_variance" and isinstance(form.mean[0], int))
        return with_mean(output, form, _Growth.apply(mean, self._sink))  # type: ignore[no-untyped-call]

    def pop(self) -> list[Posterior]:
        """The posteriors of the runs since the last call, in their order; in memory of their own.

        What a CUDA graph gives is overwritten when it is replayed.
        """
        kept, self._kept = self._kept, None
        found: list[Posterior] = []
        while kept is not None:
            both, kept = kept
            mean, log_variance = both.clone() if both.is_cuda else both
            found.append(Posterior(mean, log_variance))
        self._popped = self._popped or bool(found)
        if found and self._doubted:
            self._doubted = False
            if found[0].positions_and_units[1] >= _MANY and bool((found[0].log_variance > 0).all()):
                _log.warning(UNSEEN)
        return found[::-1]

    def exporting(self) -> bool:
        """Whether the graph is to be exported; torch 2.11 says so in every graph, if traced."""
        return torch.compiler.is_exporting()

    def build(self) -> None:
        """Note that the module is in a graph."""
        self.in_graph = True
        self._built()

    def _doubt(self, doubted: bool) -> None:
        self._doubted = doubted

    def _append(self, both: Tensor) -> None:
        self._kept = (both, self._kept)

    def _prepare(self, units: int, device: torch.device, partial: bool) -> None:
        self.partial = partial
        sink = self._sink
        if sink is None or sink.shape[0] != units or sink.device != device:
            self._sink = torch.zeros(units, device=device, requires_grad=True)
            self._sink.register_post_accumulate_grad_hook(self._read)  # type: ignore[no-untyped-call]

    def _read(self, sink: Tensor) -> None:
        growth, sink.grad = sink.grad, None
        if self._popped:  # what came later was run again by activation checkpointing
            self._kept = None
        self._arrived(None if self.partial else growth)
        self._popped = False


def is_of_graph(mean: Tensor) -> bool:
    """Whether it was made in a compiled graph, whose own uses of it are not seen."""
    made = mean if mean._base is None else mean._base
    return type(made.grad_fn).__name__ == "CompiledFunctionBackward"


def same(one: Posterior | Family, other: Posterior | Family) -> bool:
    """Whether two are the same run's; one that a graph kept is a copy."""
    mine, theirs = one.tensors[0], other.tensors[0]
    if mine is theirs:
        return True
    kept = not (mine.requires_grad and theirs.requires_grad)
    return kept and mine.shape == theirs.shape and torch.equal(mine, theirs)


class _Growth(torch.autograd.Function):
    """The mean as it is; the gradient of ``sink`` is ``-sum_b (mu_b - mean mu) dL/dmu_b``."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, sink: Tensor) -> Tensor:
        ctx.save_for_backward(mean)
        return mean.clone()  # a view could not be changed in place any more

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        mean = by_position(ctx.saved_tensors[0]).float()
        growth = -((mean - mean.mean(0)) * by_position(gradient).float()).sum((0, 1))
        if len(mean) == 1:  # it cannot be centred: left out, as what is not finite
            growth = torch.full_like(growth, float("nan"))
        return gradient, growth


def _set_anywhere(store: Callable[[Tensor], None], value: Tensor) -> None:
    """Set attributes also where activation checkpointing is traced.

    torch.compile refuses it there, as eager checkpointing would do it twice; a graph does it once.
    """
    unchecked = getattr(
        torch._dynamo.utils, "_disable_side_effect_safety_checks_for_current_subtracer", None
    )
    if unchecked is None:
        store(value)
    else:
        unchecked(store, value)
