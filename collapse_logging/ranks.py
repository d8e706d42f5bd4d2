"""Several ranks watch as one: one all-reduce a check, and the same decisions everywhere.

No collective is started but in :meth:`Ranks.add`, to which every rank comes at the same step and in
the same order: none in ``flush``, none in ``close``, none after an exception.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .handshake import meet, world
from .pooled import CONTROLS, Added, Pool, alike, means_of, same_kind, shape_of, shifts_of
from .report import Report
from .rows import Shape
from .window import Window

_T = TypeVar("_T")
_log = logging.getLogger("collapse_logging")


class Ranks:
    """What the ranks of a distributed run know of each other.

    Args:
        across: whether they shall watch as one at all.
        strict: raise faults of ours instead of telling them.

    Attributes:
        across: as given.
        met: whether it is settled if they watch together.
        together: whether all ranks watch as one; False without torch.distributed.
        agree: whether all ranks decided the same at the last check but one; else nothing is done
            about alerts any more.
        lost: whether a rank is gone, or may be: nothing is waited for any more.
    """

    def __init__(self, across: bool = True, strict: bool = False) -> None:
        self.across = across
        self.met = self.together = self.lost = False
        self.agree = True
        self._strict = strict
        self._rank, self._count = 0, 1
        self._observe_every: int | None = None
        self._pool: Pool | None = None
        self._described: Mapping[str, Shape] = {}
        self._fault = False
        self._vote = 0
        self._told: set[str] = set()

    @property
    def writes(self) -> bool:
        """Whether this rank's writers are called."""
        return not self.together or self._rank == 0

    def meet(self, settings: Mapping[str, Any]) -> None:
        """At the first step: find out whether all ranks watch; it may wait for them.

        Raises:
            ValueError: the settings differ between ranks.
        """
        self.met = True
        self._rank, self._count = world()
        self.together = self.across and meet(settings)

    def leave(self) -> None:
        """After an exception: other ranks may be waiting elsewhere, so wait for nothing."""
        self.lost = self.together

    def guard(self, window: Window | None, call: Callable[..., _T], *given: Any) -> _T | None:
        """Call; a fault of ours ends no training and leaves no rank waiting: it is told and noted.

        Args:
            window: what was gathered in it is forgotten then; it may be half done.
            call: what may fail.
            given: its arguments.
        """
        try:
            return call(*given)
        except Exception:
            if self._strict:
                raise
            self._fault = True
            self._tell(
                "watching failed on rank %d; what it gathered since the last check is dropped, and "
                "training goes on. The error below is ours, please report it.",
                self._rank,
                traceback=True,
            )
        if window is not None:
            window.forget()
        return None

    def add(self, window: Window) -> tuple[Tensor, Added] | None:
        """All ranks' windows added up; None where none has anything or a rank is gone.

        Args:
            window: this rank's; from the next check on it observes every which step as all agree.
        """
        if self.lost:
            return None
        if window.budget.chosen is None:  # it is choosing, be it again
            self._observe_every = None
        window.budget.chosen = self._observe_every or window.budget.chosen
        if self._pool is None:
            self._pool = self._agreed(window)
        if self._pool is None:
            return None
        vector = self._packed(self._pool, window, window.budget.chosen)
        if not self._reached(dist.all_reduce, vector):
            return None
        centred = self._pool.centred(vector[:-CONTROLS])
        return torch.cat([centred, vector[-CONTROLS:]]), Added(self._pool, window.steps)

    def hear(self, vector: Tensor) -> None:
        """What the ranks told each other beside their sums."""
        faults, changed, vote, squares, every, choosers = vector[-CONTROLS:].tolist()
        if faults:
            self._tell("at some checks the share of %d ranks is missing.", int(faults))
        if changed:
            self._pool = None
        if self._count * int(squares) != int(vote) ** 2:
            self.agree = False
            self._tell("ranks disagree about the levels; nothing is done about alerts any more.")
        if choosers == self._count and self._observe_every is None:
            self._observe_every = round(every / choosers)

    def decided(self, report: Report) -> None:
        """Keep a checksum of what this rank decided, for the others at the next check."""
        levels = [(name, int(latent.level)) for name, latent in report.latents.items()]
        self._vote = zlib.crc32(repr((levels, report.last_healthy_step)).encode()) & 0xFFFFF

    def _reached(self, collective: Callable[..., Any], *given: object) -> bool:
        """Whether all ranks came; a collective that fails is the last, for no group recovers."""
        try:
            collective(*given)
        except RuntimeError:
            self.lost = True
            self._tell("another rank is gone; no further check.", traceback=True)
        return not self.lost

    def _packed(self, pool: Pool, window: Window, every: int | None) -> Tensor:
        shapes = _shapes(window)
        changed = shapes != self._described and not all(
            name in pool.shapes
            and alike(pool.shapes[name], shape)
            and pool.shapes[name].positions >= shape.positions
            for name, shape in shapes.items()
        )
        sums = self.guard(None, pool.pack, window)
        if sums is None or self._fault:
            sums = pool.shifts.new_zeros(pool.size(window.steps))
        told = [self._fault, changed, self._vote, self._vote**2, every or 0, every is not None]
        self._fault = False
        return torch.cat([sums, *(sums.new_full((1,), float(value)) for value in told)])

    def _describe(self, window: Window) -> dict[str, tuple[tuple[int | str, ...], Tensor]]:
        """By latent its shape and the points about which its sums may be taken."""
        self._described = _shapes(window)
        return {
            name: (tuple(shape), means_of(window.latents.statistics(name)))
            for name, shape in self._described.items()
        }

    def _agreed(self, window: Window) -> Pool | None:
        """A pool of what the ranks have observed so far; None if they have observed nothing."""
        ours = self.guard(None, self._describe, window) or {}
        device = window.latents.device
        everyone: list[Any] = [None] * self._count
        told = (None if device is None else device.type, ours)
        if not self._reached(dist.all_gather_object, everyone, told):
            return None
        observed = [latents for _, latents in everyone]
        shapes = self._joined(observed)
        if not shapes:
            return None
        window.latents.restart(shapes)
        shifts = torch.cat([shifts_of(name, shape, observed) for name, shape in shapes.items()], 1)
        return Pool(shapes, shifts.to(_common(device, [kind for kind, _ in everyone])))

    def _joined(self, observed: list[Any]) -> dict[str, Shape]:
        """One shape a name, with room for the positions of every rank."""
        shapes: dict[str, Shape] = {}
        for name, (of_rank, _) in (pair for latents in observed for pair in latents.items()):
            shape = Shape(*of_rank)
            known = shapes.setdefault(name, shape)
            if not same_kind(known, shape):
                self._tell(
                    "latent %r: expected as many units on all ranks, got %d%s and %d%s; the "
                    "latter's are left out. Give two latents two names.",
                    *(name, known.units, known.family, shape.units, shape.family),
                )
                continue
            most = max(known.all_positions, shape.all_positions)
            larger = max(known, shape, key=lambda s: (s.stride, s.positions))
            shapes[name] = larger._replace(all_positions=most)
        return shapes

    def _tell(self, message: str, *values: object, traceback: bool = False) -> None:
        if message not in self._told:
            self._told.add(message)
            _log.warning(message, *values, exc_info=traceback)


def _common(device: torch.device | None, kinds: list[str | None]) -> torch.device:
    """Where this rank adds: all on CUDA, if one is there or the group can do no other."""
    if dist.get_backend() != "nccl" and "cuda" not in kinds:
        return torch.device("cpu")
    return torch.device("cuda") if device is None or device.type != "cuda" else device


def _shapes(window: Window) -> dict[str, Shape]:
    """Of each latent that was observed on this rank; a trial run without data is none."""
    device = window.latents.device
    if device is None or device.type == "meta":
        return {}
    return {name: shape_of(gathered) for name, gathered in window.latents}
