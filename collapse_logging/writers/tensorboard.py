"""TensorBoard: scalars in one record a check, histograms from ready bins, alerts as a table."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import numpy as np

from ..report import Alert, Report
from .base import Writer, histograms, histograms_due

_ALERT_ROWS = 50


class TensorBoardWriter(Writer):
    """Writes to a log folder of its own, or to a ``SummaryWriter`` that is handed in.

    A writer that was handed in is flushed but never closed.

    Args:
        target: a folder, e.g. ``"runs/a"``, or a ``torch.utils.tensorboard.SummaryWriter``.
        histogram_every: checks from one histogram to the next, after the first ten.
        prefix: first part of every tag.

    Raises:
        ModuleNotFoundError: ``tensorboard`` is not installed.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Any,
        histogram_every: int = 10,
        prefix: str = "collapse",
    ) -> None:
        self._owned = isinstance(target, (str, os.PathLike))
        self._writer: Any = _summary_writer(target) if self._owned else target
        self._every = histogram_every
        self._prefix = prefix
        self._alerts: deque[Alert] = deque(maxlen=_ALERT_ROWS)

    @property
    def log_dir(self) -> str:
        """The folder that ``tensorboard --logdir`` is to be pointed at."""
        return str(self._writer.log_dir)

    def write(self, report: Report) -> None:
        """Scalars, histograms when due, the table of alerts when there is a new one."""
        self._write_scalars(report.scalars(self._prefix), report.step)
        if histograms_due(report, self._every):
            self._write_histograms(report)
        if report.alerts:
            self._alerts.extendleft(report.alerts)
            self._writer.add_text(f"{self._prefix}/alerts", alerts_table(self._alerts), report.step)
            self._writer.flush()

    def close(self) -> None:
        """Flush, and close what is our own."""
        self._writer.flush()
        if self._owned:
            self._writer.close()

    def _write_scalars(self, values: dict[str, float], step: int) -> None:
        get_file_writer = getattr(self._writer, "_get_file_writer", None)
        if get_file_writer is None or not hasattr(get_file_writer(), "add_summary"):
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)
            return
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        get_file_writer().add_summary(summary, step)

    def _write_histograms(self, report: Report) -> None:
        for tag, (counts, edges) in histograms(report, self._prefix).items():
            centres = (edges[:-1] + edges[1:]) / 2.0
            self._writer.add_histogram_raw(
                tag,
                min=float(edges[0]),
                max=float(edges[-1]),
                num=int(counts.sum()),
                sum=float((counts * centres).sum()),
                sum_squares=float((counts * np.square(centres)).sum()),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=report.step,
            )


def alerts_table(alerts: deque[Alert]) -> str:
    """All alerts as one Markdown table, newest first.

    One text an alert would lose alerts in both of TensorBoard's loaders; a table that is
    written whole each time does not.
    """
    rows = ["| step | latent | level | why | what to do |", "|---|---|---|---|---|"]
    for alert in alerts:
        why = "; ".join(str(indicator) for indicator in alert.indicators)
        cells = (
            str(alert.step),
            f"`{_escape(alert.latent)}`",
            f"{alert.level.emoji} {_escape(alert.title.split(':')[0])}",
            _escape(why),
            _escape(alert.advice),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _escape(text: str) -> str:
    """Keep names from the outside from becoming table cells, links, pictures or markup."""
    text = " ".join(text.split())
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        text = text.replace(character, entity)
    return text.translate({ord(c): f"\\{c}" for c in "\\`*[]!#"})


def _summary_writer(log_dir: Any) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            "TensorBoardWriter needs the package tensorboard, which is not installed; "
            "pip install 'collapse-logging[tensorboard]'."
        ) from error
    return SummaryWriter(str(log_dir), max_queue=1000)
