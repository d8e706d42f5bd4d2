"""From a window on the host to people: judged, written by every writer, answered by responses."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from .arguments import checked_list
from .pooled import Added
from .ranks import Ranks
from .report import MOST_LATENTS, Report
from .responses import CheckResponse, Response, announced, needs_all_ranks, respond
from .snapshot import Layout, Snapshot
from .transfer import LaggedTransfer, Transfer, transfer_for
from .verdict import Judge
from .window import Window
from .writers import Writer
from .writers.guard import GuardedWriter

_log = logging.getLogger("collapse_logging")


class Delivery:
    """Judges windows in order and hands the reports on.

    Args:
        judge: turns a window into a report.
        writers: where reports go, complete.
        responses: called with each alert of a latent that is not optional.
        strict: raise what a writer or a response raises.
        across_ranks: whether the ranks of a distributed run watch as one.
    """

    def __init__(
        self,
        judge: Judge,
        writers: Sequence[Writer],
        responses: Sequence[Response],
        strict: bool,
        across_ranks: bool = True,
    ) -> None:
        self.judge = judge
        self.report: Report | None = None
        self.transfer: Transfer | None = None
        self.ranks = Ranks(across_ranks, strict)
        self._unread: set[str] = set()
        self._resumed: list[tuple[Tensor, Any]] = []
        self._news = False
        self._writers = [GuardedWriter(writer, strict) for writer in writers]
        self._responses = list(checked_list(responses, "responses", callable))
        self._strict = strict
        self._process = os.getpid()
        self._said_forked = False
        self._most_seen = 0

    def meet(self, window: Window, step: int) -> Ranks:
        """At the first step: whether all ranks watch together, and with the same settings."""
        if not self.ranks.met:
            start = {"step": step, "open_steps": window.steps, "checks": self.judge.checks}
            settings = asdict(self.judge.rules) | {"optional": sorted(self.judge.optional)}
            self.ranks.meet(settings | {"check_frequency": window.frequency} | start)
        return self.ranks

    def send(self, window: Window, step: int) -> None:
        """Start the copy of a window and reset it; while two are under way it goes on and merges.

        Args:
            window: what was gathered.
            step: training step at which it ends.
        """
        packed: tuple[Tensor, Layout | Added] | None = None
        device, together = window.latents.device, self.ranks.together
        known = device is not None and device.type != "meta" and not self._forked()
        if device is not None and known and not together:
            self.transfer = self.transfer or transfer_for(device)
        if self.transfer is not None and not self.transfer.ready():
            return
        if together and not self._forked():
            self._deliver_arrived(wait=True)  # the last check's, also where it is not its time
            packed = self.ranks.add(window)
        elif known:
            packed = self.ranks.guard(window, window.pack)
        if packed is not None:
            vector, layout = packed
            tag = layout, step, window.steps, window.budget.spent(window.steps)
            self.transfer = self.transfer or transfer_for(vector.device, together)
            self.transfer.send(vector, tag)
        window.reset(step)
        for name in self._unread:
            window.latents.read_by_element(name)

    def flush(self, window: Window, step: int) -> Report | None:
        """Check what is left over, wait for it, and give the latest report.

        Where ranks watch together what is left over is not checked: one may be here alone.
        """
        self.arrived(wait=True)  # so that the transfer takes what is left over
        if window.steps and not self.ranks.together:
            self.send(window, step)
        self.arrived(wait=True)
        return self.report

    @property
    def idle(self) -> bool:
        """Whether there was a check and nothing is under way."""
        return self.transfer is not None and self.transfer.idle and not self._resumed

    def arrived(self, wait: bool = False) -> Report | None:
        """Deliver the copies that have arrived; the latest report, None if there was none.

        Args:
            wait: for all copies. Other ranks may not be there then: no response is called that
                needs them.
        """
        self._deliver_arrived(wait, alone=wait)
        news, self._news = self._news, False
        return self.report if news else None

    def _deliver_arrived(self, wait: bool, alone: bool = False) -> None:
        copies, self._resumed = self._resumed, []
        if self.transfer is not None:
            copies = copies + self.transfer.poll(wait and not self.ranks.lost)
        for vector, (layout, step, steps, spent) in copies:
            if isinstance(layout, Added):
                self.ranks.hear(vector)
            self._news |= self.deliver(layout.split(vector), step, steps, spent, alone)

    def deliver(
        self,
        snapshot: Snapshot,
        step: int,
        steps: int,
        spent: Mapping[str, float],
        alone: bool = False,
    ) -> bool:
        """Judge a window and hand its report on; False if no latent was observed in it.

        Args:
            snapshot: the window.
            step: training step at which it ended.
            steps: training steps in it.
            spent: the run's own measures of what watching cost.
            alone: whether other ranks may not be here.
        """
        if self._forked():
            return False
        report = self.judge.report(snapshot, step, steps)
        report = replace(report, measures={**report.measures, **spent})
        self._unread |= {
            name for name, latent in report.latents.items() if latent.measures.get("nonfinite")
        }
        seen = [latent.measures for latent in report.latents.values()]
        if not any(values["samples"] or values.get("nonfinite") for values in seen):
            return False
        report = announced(report, self._responses if self.ranks.agree else ())
        if self.report is None:
            self._check_optional(report)
            for writer in self._writers:
                writer.open(self._settings())
        self._check_many(report)
        self.report = report
        self.ranks.decided(report)
        for writer in self._writers if self.ranks.writes else ():
            writer.write(report)
        for response in self._responses if self.ranks.agree else ():
            if not needs_all_ranks(response) or (self.ranks.together and not alone):
                respond(response, report, self._strict)
        return True

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """After the block, whatever happens in it, close the writers and forget them."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._writers.clear)
            for writer in [] if self._forked() else self._writers:
                stack.callback(writer.close)
            yield

    def state_dict(self) -> dict[str, Any]:
        """What judge and responses remember; copies of ranks together keep their step."""
        flying = []
        if self.ranks.together and isinstance(self.transfer, LaggedTransfer):
            flying = [(v, at[0].to_dict(), *at[1:]) for v, at in self.transfer.peek()]
        else:
            self.arrived(wait=True)
        for writer in self._writers if self.report else ():
            writer.flush()
        kept = [r.state_dict() for r in self._responses if isinstance(r, CheckResponse)]
        unread = sorted(self._unread)
        judge = self.judge.state_dict()
        return {"judge": judge, "responses": kept, "flying": flying, "unread": unread}

    def load_state_dict(self, state: Mapping[str, Any], step: int) -> None:
        """Continue from :meth:`state_dict`, which was taken after so many training steps."""
        self.transfer, self.ranks = None, Ranks(self.ranks.across, self._strict)
        self.judge.load_state_dict(state["judge"])
        self._unread = set(state.get("unread", ()))
        flying = state.get("flying", ())
        self._resumed = [(v, (Added.from_dict(layout), *at)) for v, layout, *at in flying]
        mine = [r for r in self._responses if isinstance(r, CheckResponse)]
        for response, saved in zip(mine, state.get("responses", ()), strict=False):
            response.load_state_dict(saved)
        for writer in self._writers if step else ():  # else it is a fresh start, and voids nothing
            writer.resume(step)

    def _forked(self) -> bool:
        """Whether this is a fork's child, in which the trackers' threads are missing.

        A writer's lock or queue would be waited for without end, and a response would remove the
        checkpoints of the training.
        """
        forked = os.getpid() != self._process
        if forked and not self._said_forked:
            self._said_forked = True
            _log.warning(
                "this process was forked from the one that made the monitor and writes nothing; "
                "make the monitor in the process that trains."
            )
        return forked

    def _check_optional(self, report: Report) -> None:
        unknown = sorted(self.judge.optional - report.latents.keys())
        if unknown:
            _log.warning(
                "optional: no latent of the name %s was observed; there are %s.",
                unknown,
                sorted(report.latents),
            )

    def _check_many(self, report: Report) -> None:
        if len(report.latents) > MOST_LATENTS >= self._most_seen:
            _log.warning(
                "%d latents: trackers are given the first %d alone; levels and alerts are of all, "
                "and the ledger has everything.",
                len(report.latents),
                MOST_LATENTS,
            )
        self._most_seen = len(report.latents)

    def _settings(self) -> dict[str, Any]:
        optional = sorted(self.judge.optional)
        more = {"optional": optional} if optional else {}
        return asdict(self.judge.rules) | more | {"language": self.judge.language}
