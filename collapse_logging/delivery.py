"""From a window on the host to people: judged, written by every writer, answered by responses."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .arguments import checked_list
from .report import MOST_LATENTS, Report
from .responses import CheckResponse, Response, respond
from .snapshot import Snapshot
from .transfer import Transfer, transfer_for
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
    """

    def __init__(
        self, judge: Judge, writers: Sequence[Writer], responses: Sequence[Response], strict: bool
    ) -> None:
        self.judge = judge
        self.report: Report | None = None
        self.transfer: Transfer | None = None
        self._unread: set[str] = set()
        self._writers = [GuardedWriter(writer, strict) for writer in writers]
        self._responses = list(checked_list(responses, "responses", callable))
        self._strict = strict
        self._process = os.getpid()
        self._said_forked = False
        self._most_seen = 0

    def send(self, window: Window, step: int) -> None:
        """Start the copy of a window and reset it; while two are under way it goes on and merges.

        Args:
            window: what was gathered.
            step: training step at which it ends.
        """
        device = window.latents.device
        if device is not None and device.type != "meta":
            self.transfer = self.transfer or transfer_for(device)
            if not self.transfer.ready():
                return
            vector, layout = window.pack()
            self.transfer.send(vector, (layout, step, window.steps, window.budget.spent()))
        window.reset()
        for name in self._unread:
            window.latents.read_by_element(name)

    def arrived(self, wait: bool = False) -> Report | None:
        """Deliver the copies that have arrived; the latest report, None if there was none."""
        copies = [] if self.transfer is None else self.transfer.poll(wait)
        told = [self.deliver(layout.split(v), *at) for v, (layout, *at) in copies]
        return self.report if any(told) else None

    def deliver(
        self, snapshot: Snapshot, step: int, steps: int, spent: Mapping[str, float]
    ) -> bool:
        """Judge a window and hand its report on; False if no latent was observed in it.

        Args:
            snapshot: the window.
            step: training step at which it ended.
            steps: training steps in it.
            spent: the run's own measures of what watching cost.
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
        report = self._with_checkpoint(report)
        if self.report is None:
            self._check_optional(report)
            for writer in self._writers:
                writer.open(self._settings())
        self._check_many(report)
        self.report = report
        for writer in self._writers:
            writer.write(report)
        for response in self._responses:
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

    def _with_checkpoint(self, report: Report) -> Report:
        """Alerts name the file that a response keeps for the last healthy step."""
        kept = (r.checkpoint_after(report) for r in self._responses if isinstance(r, CheckResponse))
        name = next((Path(path).name for path in kept if path), None)
        if name is None or not report.alerts:
            return report
        return replace(report, alerts=tuple(replace(a, checkpoint=name) for a in report.alerts))
