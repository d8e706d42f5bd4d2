"""Alerts and checks through the standard ``logging`` module."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..report import Level, Report
from ..terminal import columns, padded
from ..words import word
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
        prefix: first part of TensorBoard's tags; said before each line unless it is the default.
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
        self._who = speaker(prefix)
        self._language = "en"

    def open(self, settings: Mapping[str, Any]) -> None:
        """Speak the detector's language."""
        self._language = settings.get("language", "en")

    def write(self, report: Report) -> None:
        """One line for the check, one message an alert."""
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info("%s%s", self._who, one_line(report, self._language))
            self._say_how_to_look(report, logging.INFO)
        for alert in report.alerts:
            severity = logging.ERROR if alert.level is Level.RED else logging.WARNING
            self._logger.log(severity, "%s%s %s", self._who, sign(alert), shown(alert).text)
        if report.alerts:
            self._say_how_to_look(report, logging.WARNING)

    def _say_how_to_look(self, report: Report, severity: int) -> None:
        log_dir, self._log_dir = self._log_dir, None
        if log_dir is not None:
            text = how_to_look(log_dir, report.latents, self._prefix, self._language)
            self._logger.log(severity, "%s", text)


def speaker(name: str) -> str:
    """What tells a detector's lines from another's: its name, unless it is the default.

    >>> speaker("early"), speaker("collapse")
    ('[early] ', '')
    """
    return "" if name == "collapse" else f"[{name}] "


def one_line(report: Report, language: str = "en") -> str:
    """A check in one line, e.g. ``step 200 🟢 OK  z: information 12.1, kl 13, ...``."""
    parts = []
    for name, latent in report.latents.items():
        values = [
            f"{word(language, f'log {key}')} {latent.measures[key]:.3g}"
            for key in ("information", "kl", "active_units", "posterior_variance", "growth")
            if key in latent.measures
        ]
        shown_values = word(language, "comma").join(values)
        parts.append(word(language, "log latent", latent=printable(name), values=shown_values))
    loss = report.measures.get("reconstruction_loss")
    widest = max(columns(word(language, level.name)) for level in Level)
    level = padded(word(language, report.level.name), widest)
    return word(
        language,
        "log line",
        step=report.step,
        level=f"{report.level.emoji} {level}",
        latents=word(language, "semicolon").join(parts),
        loss="" if loss is None else word(language, "log loss", loss=loss),
    )
