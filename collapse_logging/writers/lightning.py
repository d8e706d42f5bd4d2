"""Any Lightning logger: the scalars, through ``log_metrics``."""

from __future__ import annotations

import logging
from typing import Any

from ..report import Report
from .base import Writer


class LoggerWriter(Writer):
    """Gives a Lightning logger the scalars; says once, at the first alert, what it cannot show.

    Lightning has no call for histograms or text that all loggers understand.

    Args:
        logger: a Lightning ``Logger``, e.g. ``CSVLogger``.
        prefix: first part of every key.
    """

    def __init__(self, logger: Any, prefix: str = "collapse") -> None:
        self._logger = logger
        self._prefix = prefix
        self._said = False

    def write(self, report: Report) -> None:
        """The scalars of the check."""
        self._logger.log_metrics(report.scalars(self._prefix), step=report.step)
        if report.alerts and not self._said:
            self._said = True
            logging.getLogger("collapse_logging").warning(
                "%s is given the scalars only: Lightning has no call for the alert's text and the "
                "histograms, which are in the ledger.",
                type(self._logger).__name__,
            )
