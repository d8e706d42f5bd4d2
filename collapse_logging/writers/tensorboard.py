"""TensorBoard: scalars, histograms, pictures and texts, and a dashboard of them."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import checked_name, require_count
from ..report import Alert, Report
from .about import about
from .base import Writer, histograms, histograms_due, shown_latents
from .board import Shown, show
from .dashboard import growth_limits, write_dashboard
from .information_map import InformationMap
from .tables import alerts_table

_ALERT_ROWS = 50


class TensorBoardWriter(Writer):
    """Writes to a log folder of its own, or to a ``SummaryWriter`` that is handed in.

    A writer that was handed in is flushed but never closed. One of our own is made anew after
    an ``OSError``: its thread is dead by then, and a second event file is read with the first.
    Only one of our own is written to in the background: the training may use the other, too.

    Args:
        target: a folder, e.g. ``"runs/a"``, or a ``torch.utils.tensorboard.SummaryWriter``
            (or one of tensorboardX, which has the same methods).
        histogram_every: checks from one histogram to the next, after the first ten.
        prefix: first part of every tag.

    Raises:
        ModuleNotFoundError: ``tensorboard`` is not installed.
        TypeError: neither a folder nor a writer.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Any,
        histogram_every: int = 10,
        prefix: str = "collapse",
    ) -> None:
        require_count("histogram_every", histogram_every, at_least=1)
        checked_name("prefix", prefix)
        self._folder = os.fspath(target) if isinstance(target, (str, os.PathLike)) else None
        self.in_background = self._folder is not None
        if self._folder is None and not hasattr(target, "add_histogram_raw"):
            raise TypeError(
                "target: expected a folder or a SummaryWriter, got "
                f"{type(target).__name__}; write TensorBoardWriter('runs/a')."
            )
        self._writer: Any = _summary_writer(self._folder) if self._folder is not None else target
        self._every = histogram_every
        self.prefix = prefix
        self._settings: Mapping[str, Any] | None = None
        self._growth_limit: float | None = None
        self._language = "en"
        self._maps: defaultdict[str, InformationMap] = defaultdict(InformationMap)
        self._draws = importlib.util.find_spec("PIL") is not None
        self._undrawn: Report | None = None
        self._on_dashboard: list[str] = []
        self._alerts: deque[Alert] = deque(maxlen=_ALERT_ROWS)

    @property
    def log_dir(self) -> str | None:
        """The folder that ``tensorboard --logdir`` is to be pointed at, if it is known."""
        if self._folder is not None:
            return self._folder
        folder = getattr(self._writer, "log_dir", None) or getattr(self._writer, "logdir", None)
        return None if folder is None else str(folder)

    def open(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings; they are written with the first report, at its step."""
        self._settings = settings
        self._growth_limit = settings.get("growth_limit")
        self._language = settings.get("language", "en")

    def write(self, report: Report) -> None:
        """Scalars, histograms when due, the table of alerts when there is a new one."""
        if self._writer is None:
            self._writer = _summary_writer(self._folder)
        try:
            self._write(report)
        except OSError:
            if self._folder is not None:
                self._writer, self._on_dashboard = None, []
            raise
        self._write_dashboard({n: latent.measures for n, latent in shown_latents(report).items()})

    def resume(self, step: int) -> None:
        """Have TensorBoard forget what a killed session wrote later, in a folder of our own."""
        if self._folder is None or self._writer is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        # as SummaryWriter(purge_step=...) does, which is not known when the writer is made
        for event in (
            Event(file_version="brain.Event:2"),
            Event(session_log=SessionLog(status=SessionLog.START)),
        ):
            self._writer._get_file_writer().add_event(event, step + 1)

    def flush(self) -> None:
        """To the disk, where a queue and minutes lie between."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Draw the last check if it was not due, flush, and close what is our own."""
        if self._writer is None:
            return
        if self._undrawn is not None:
            drawn = Shown({}, histograms(self._undrawn, self.prefix), self._pictures())
            show(self._writer, drawn, self._undrawn.step)
            self._undrawn = None
        self._writer.flush()
        if self._folder is not None:
            self._writer.close()

    def _write(self, report: Report) -> None:
        for name, latent in shown_latents(report).items():
            if "information" in latent.per_unit:
                self._maps[name].add(latent.per_unit["information"], latent.level)
        due = histograms_due(report, self._every)
        shown = Shown(
            report.scalars(self.prefix) | self._limits(report),
            histograms(report, self.prefix) if due else {},
            self._pictures() if due else {},
            self._texts(report),
        )
        show(self._writer, shown, report.step)
        self._settings = None
        self._undrawn = None if due else report
        if report.alerts:
            self._writer.flush()

    def _pictures(self) -> dict[str, NDArray[np.uint8]]:
        if not self._draws:
            return {}
        return {
            f"{self.prefix}/{name}/information_map": history.pixels()
            for name, history in self._maps.items()
        }

    def _texts(self, report: Report) -> dict[str, str]:
        texts = {}
        if self._settings is not None:
            texts[f"{self.prefix}/about"] = about(self._settings)
        if report.alerts:
            # the guard hands an alert over again when writing it failed
            self._alerts.extendleft(a for a in report.alerts if a not in self._alerts)
            texts[f"{self.prefix}/alerts"] = alerts_table(self._alerts)
        return texts

    def _limits(self, report: Report) -> dict[str, float]:
        """The band of the growth chart: TensorBoard draws it if its steps are growth's own."""
        limit, found = self._growth_limit, {}
        for name, latent in shown_latents(report).items():
            if limit is not None and math.isfinite(latent.measures.get("growth", math.nan)):
                found.update(growth_limits(name, limit, self.prefix))
        return found

    def _write_dashboard(self, latents: Mapping[str, Mapping[str, float]]) -> None:
        """Once, and again when a latent has come; a failure is told by the guard, not repeated."""
        folder = self.log_dir
        if folder is None or list(latents) == self._on_dashboard:
            return
        self._on_dashboard = list(latents)
        with contextlib.suppress(ModuleNotFoundError):  # tensorboardX alone, without tensorboard
            write_dashboard(folder, latents, self.prefix, self._language)


def _summary_writer(log_dir: Any) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            "TensorBoardWriter needs the package tensorboard, which is not installed; "
            "pip install 'collapse-logging[tensorboard]'."
        ) from error
    # a long queue: the default of ten makes the training wait for a slow file system
    return SummaryWriter(str(log_dir), max_queue=1000)
