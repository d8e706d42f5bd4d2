"""Checks and alerts through the logging module."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from torch.utils.tensorboard import SummaryWriter

from collapse_logging import Alert, Indicator, Level, Report
from collapse_logging.writers import LogWriter, MemoryWriter, TensorBoardWriter, complete
from collapse_logging.writers.link import tensorboard_link
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


@pytest.mark.parametrize(
    ("shown", "step"), [(logging.INFO, 0), (logging.WARNING, 1)], ids=["info", "warnings only"]
)
def test_how_to_look_is_said_once(
    shown: int, step: int, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """With the first check, or where that is hidden with the first alert, at a level that shows."""
    first_alert = next(i for i, report in enumerate(reports) if report.alerts)
    writer = LogWriter(log_dir="my runs/a")
    said = []
    with caplog.at_level(shown, "collapse_logging"):
        for index, report in enumerate(reports):
            writer.write(report)
            said += [index] * caplog.text.count("tensorboard --logdir 'my runs/a'")
            said += [index] * caplog.text.count(tensorboard_link(["z"]))
            said += [index] * caplog.text.count("/#custom_scalars&")
            caplog.clear()
    assert said == [first_alert if step else 0] * 3


def test_a_healthy_run_is_silent_about_looking_too(
    healthy: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing above info without an alert, also where TensorBoard is written to."""
    with caplog.at_level(logging.INFO, "collapse_logging"):
        for report in healthy:
            LogWriter(log_dir="runs").write(report)
    assert {record.levelno for record in caplog.records} == {logging.INFO}


@pytest.mark.parametrize("handed_in", [True, False])
def test_the_monitor_says_where_its_own_tensorboard_is(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture, handed_in: bool
) -> None:
    """The folder and the tags of the first TensorBoard writer, be it Lightning's or ours."""
    theirs = SummaryWriter(str(tmp_path)) if handed_in else None
    board = TensorBoardWriter(theirs or tmp_path, prefix="mine")
    (log,) = [w for w in complete([MemoryWriter(), board], None, True) if isinstance(w, LogWriter)]
    with caplog.at_level(logging.WARNING, "collapse_logging"):
        for report in reports:
            log.write(report)
    assert caplog.text.count(f"tensorboard --logdir {tmp_path}\n") == 1
    assert caplog.text.count(tensorboard_link(["z"], prefix="mine")) == 1
    board.close()
    if theirs is not None:
        theirs.close()
    assert not any(isinstance(w, LogWriter) for w in complete([board], None, False))


def test_the_link_pins_no_more_than_a_screen_holds() -> None:
    """The level and the first latents' charts, ten in all."""
    query = parse_qs(urlparse(tensorboard_link([f"z{n}" for n in range(20)])).query)
    tags = [card["tag"] for card in json.loads(query["pinnedCards"][0])]
    assert len(tags) == 10
    assert tags[:2] == ["collapse/level", "collapse/z0/information"]
