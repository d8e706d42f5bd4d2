"""Alerts and checks through the standard ``logging`` module."""

from __future__ import annotations

import logging

from ..report import Level, Report
from .base import Writer, printable, shown, sign


class LogWriter(Writer):
    """Alerts as warnings (red: errors), checks as info, on the logger ``collapse_logging``.

    Without any configuration Python shows warnings and errors on stderr, so a collapse is seen.

    Args:
        logger: another logger, or None.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("collapse_logging")

    def write(self, report: Report) -> None:
        """One line for the check, one message an alert."""
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info(one_line(report))
        for alert in report.alerts:
            severity = logging.ERROR if alert.level is Level.RED else logging.WARNING
            self._logger.log(severity, "%s %s", sign(alert), shown(alert).text)


def one_line(report: Report) -> str:
    """A check in one line, e.g. ``step 200 🟢 OK  z: information 12.1 nats, kl 13, ...``."""
    parts = []
    for name, latent in report.latents.items():
        values = [
            f"{key} {latent.measures[key]:.3g}"
            for key in ("information", "kl", "active_units", "posterior_variance", "growth")
            if key in latent.measures
        ]
        parts.append(f"{printable(name)}: " + ", ".join(values))
    loss = report.measures.get("reconstruction_loss")
    tail = "" if loss is None else f" | reconstruction {loss:.4g}"
    head = f"step {report.step} {report.level.emoji} {report.level.name:<6}"
    return f"{head} {'; '.join(parts)}{tail}"
