"""Alerts and checks through the standard ``logging`` module."""

from __future__ import annotations

import logging

from ..report import Level, Report
from .base import Writer, printable, shown, sign
from .link import how_to_look


class LogWriter(Writer):
    """Alerts as warnings (red: errors), checks as info, on the logger ``collapse_logging``.

    Without any configuration Python shows warnings and errors on stderr, so a collapse is seen.

    Where TensorBoard is written to, how to look at it is said once: with the first check (info),
    or, if that is not shown, with the first alert (warning).

    Args:
        logger: another logger, or None.
        log_dir: what ``tensorboard --logdir`` is to be pointed at; None: nothing is said of it.
        prefix: first part of TensorBoard's tags.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        log_dir: str | None = None,
        prefix: str = "collapse",
    ) -> None:
        self._logger = logger or logging.getLogger("collapse_logging")
        self._log_dir = log_dir
        self._prefix = prefix

    def write(self, report: Report) -> None:
        """One line for the check, one message an alert."""
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info(one_line(report))
            self._say_how_to_look(report, logging.INFO)
        for alert in report.alerts:
            severity = logging.ERROR if alert.level is Level.RED else logging.WARNING
            self._logger.log(severity, "%s %s", sign(alert), shown(alert).text)
        if report.alerts:
            self._say_how_to_look(report, logging.WARNING)

    def _say_how_to_look(self, report: Report, severity: int) -> None:
        log_dir, self._log_dir = self._log_dir, None
        if log_dir is not None:
            self._logger.log(severity, "%s", how_to_look(log_dir, report.latents, self._prefix))


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
