"""The writer's contract, stated once."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from ..report import MOST_LATENTS, Alert, LatentReport, Report, Vector

Histogram = tuple[Vector, Vector]
"""Counts ``[bins]`` and edges ``[bins + 1]``."""

_EDGES = np.linspace(-8.125, 2.125, 42)
"""Quarter decades; the prior's variance, log10 1 = 0, is the middle of one and not an edge."""


class Writer(ABC):
    """Consumes reports: one call a check, on rank zero, in the training thread.

    A writer may raise: the monitor logs the first failure with its traceback, pauses the writer
    and drops it if it goes on failing; training is not touched. It should return within a
    millisecond and keep nothing of the report but what it needs.

    Attributes:
        in_background: whether it may be called in a thread of its own instead, so that training
            waits for it with alerts only: it uses nothing that the training uses, too.
    """

    in_background: bool = False

    def open(self, settings: Mapping[str, Any]) -> None:  # noqa: B027 - optional
        """Called once before the first report, with the thresholds in force."""

    @abstractmethod
    def write(self, report: Report) -> None:
        """Take one report; after one with alerts, what was written must survive a kill."""

    def resume(self, step: int) -> None:  # noqa: B027 - optional
        """Called before the first report of a resumed run: what was written after it is void."""

    def flush(self) -> None:  # noqa: B027 - optional
        """Called when a checkpoint is saved: what was written before must survive a kill."""

    def close(self) -> None:  # noqa: B027 - optional
        """Write what is held back and let go of handles; may be called twice."""


def shown_latents(report: Report) -> dict[str, LatentReport]:
    """The latents that a tracker shows."""
    return dict(islice(report.latents.items(), MOST_LATENTS))


def histograms(report: Report, prefix: str = "collapse") -> dict[str, Histogram]:
    """Histograms of per-unit variances by tag, over log10, in fixed bins with trimmed ends.

    The log because a variance spans 1e-8 to 1 and linear bins show one spike; the fixed bins so
    that checks line up; the trimming so that TensorBoard's two loaders show the same.
    """
    found = {}
    for name, latent in shown_latents(report).items():
        for measure in ("posterior_variance", "mean_variance"):
            values = latent.per_unit.get(measure)
            if values is not None and np.isfinite(values).any():
                found[f"{prefix}/{name}/log10_{measure}"] = log10_histogram(values)
    return found


def log10_histogram(values: Vector) -> Histogram:
    """Counts and edges of ``log10(values)`` in bins of a quarter decade about 1e-8 to 100."""
    finite = values[np.isfinite(values)]
    logs = np.log10(np.clip(finite, 10.0 ** _EDGES[0], 10.0 ** _EDGES[-1]))
    counts = np.histogram(logs, _EDGES)[0].astype(np.float64)
    filled = np.flatnonzero(counts)
    first, last = filled[0], filled[-1]
    return counts[first : last + 1], _EDGES[first : last + 2]


def histograms_due(report: Report, every: int) -> bool:
    """Whether this check shows histograms: the first ten, then each ``every``-th, and alerts."""
    return report.check < 10 or report.check % every == 0 or bool(report.alerts)


def printable(text: str) -> str:
    """The text on one line without control characters: a name may come from the outside."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def escape(text: str) -> str:
    """Keep names from the outside from becoming table cells, links, pictures or markup."""
    text = printable(text)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        text = text.replace(character, entity)
    return text.translate({ord(c): f"\\{c}" for c in "\\`*_[]!#"})


def shown(alert: Alert) -> Alert:
    """The alert with its latent's name as it may be shown to people."""
    return dataclasses.replace(alert, latent=printable(alert.latent))


def sign(alert: Alert) -> str:
    """The level's sign; an explosion leaves the level alone, so it has a sign of its own."""
    return alert.level.emoji if alert.kind == "collapse" else "💥"
