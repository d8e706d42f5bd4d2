"""Checks and alerts through the logging module."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from collapse_logging import Alert, Indicator, Level, Report
from collapse_logging.writers import LogWriter
from collapse_logging.writers.log import one_line


def test_alerts_are_warnings_and_red_is_an_error(
    reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """Without configuration Python shows warnings: a collapse is seen in the terminal."""
    with caplog.at_level(logging.INFO, "collapse_logging"):
        for report in reports:
            LogWriter().write(report)
    shown = [r for r in caplog.records if r.levelno > logging.INFO]
    assert [r.levelno for r in shown] == [logging.WARNING, logging.WARNING, logging.ERROR]
    alerts = [alert for report in reports for alert in report.alerts]
    for record, alert in zip(shown, alerts, strict=True):
        assert record.getMessage() == f"{alert.level.emoji} {alert.text}"
    assert sum(r.levelno == logging.INFO for r in caplog.records) == len(reports)


def test_a_healthy_run_says_nothing_above_info(
    healthy: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """No alarm without a cause."""
    with caplog.at_level(logging.INFO, "collapse_logging"):
        for report in healthy:
            LogWriter().write(report)
    assert {r.levelno for r in caplog.records} == {logging.INFO}


def test_a_check_is_one_line_with_what_matters(reports: list[Report]) -> None:
    """Step, level, information, KL and the reconstruction loss, on one line whatever the name."""
    line = one_line(reports[-1])
    measures = reports[-1].latents["z"].measures
    assert line.startswith(f"step {reports[-1].step} 🔴 RED")
    assert f"z: information {measures['information']:.3g}, kl {measures['kl']:.3g}" in line
    assert line.endswith(f"reconstruction {reports[-1].measures['reconstruction_loss']:.4g}")
    forged = dataclasses.replace(reports[-1], latents={"z\n🟢 OK": reports[-1].latents["z"]})
    assert "\n" not in one_line(forged)


def test_another_logger_may_be_given(caplog: pytest.LogCaptureFixture) -> None:
    """The user's own logger gets the messages, and ours gets none."""
    alert = Alert(1, "z", Level.OK, Level.RED, (Indicator("kl", 0.001, 0.01),))
    with caplog.at_level(logging.INFO):
        LogWriter(logging.getLogger("mine")).write(Report(1, 0, Level.RED, {}, (alert,)))
    assert [r.name for r in caplog.records] == ["mine", "mine"]
