"""Responses: what is done about an alert. Any callable that takes an Alert is one."""

from __future__ import annotations

import logging
import os
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from .files import move, save_whole
from .report import Alert, Level, Report

Response = typing.Callable[[Alert], None]

_log = logging.getLogger("collapse_logging")


class CheckResponse(ABC):
    """A response that must also see the checks that raise no alert.

    Attributes:
        checkpoint: the file that holds the last healthy model, if this response keeps one.
    """

    checkpoint: Path | None = None

    def checkpoint_after(self, report: Report) -> Path | None:
        """Where the last healthy model will be once this report is answered."""
        return self.checkpoint

    @abstractmethod
    def on_report(self, report: Report) -> None:
        """Called at every check, before the alerts."""

    @abstractmethod
    def __call__(self, alert: Alert) -> None:
        """Called for every alert, on every rank."""


def respond(response: Response, report: Report, strict: bool = False) -> None:
    """Give a response one report; what it raises is logged, call by call, and training goes on.

    Alerts of latents that were declared optional are left out.

    Args:
        response: the response.
        report: a check's.
        strict: raise instead, for tests and CI.
    """
    calls: list[tuple[Callable[..., None], Report | Alert]]
    calls = [(response, alert) for alert in report.alerts if not alert.optional]
    if isinstance(response, CheckResponse):
        calls.insert(0, (response.on_report, report))
    for call, argument in calls:
        try:
            call(argument)
        except Exception:
            if strict:
                raise
            _log.exception("a response failed at step %d; training goes on.", report.step)


class KeepLastHealthy(CheckResponse):
    """Keeps one checkpoint from before a collapse, and one of the state at the alarm.

    While every latent is healthy ``last_healthy_step_<n>.ckpt`` is renewed now and then. When a
    latent turns red it becomes ``model_before_collapse_step_<n>.ckpt``, and the present state is
    saved beside it as ``model_at_alarm_step_<m>.ckpt``. A file is whole or absent.

    Args:
        save: saves the training's state to a path, e.g. ``trainer.save_checkpoint``.
        directory: where the files go.
        every: healthy checks from one checkpoint to the next.
    """

    def __init__(
        self,
        save: Callable[[Path], object],
        directory: str | os.PathLike[str],
        every: int = 10,
    ) -> None:
        self.directory = Path(directory)
        self._save = save
        self._every = every
        self._kept_at = -every
        self._alarm_step = -1

    def checkpoint_after(self, report: Report) -> Path | None:
        """At red the file under its final name."""
        if self.checkpoint is None or not any(map(_confirms, report.alerts)):
            return self.checkpoint
        return _final(self.checkpoint)

    def on_report(self, report: Report) -> None:
        """Renew the checkpoint if this check is healthy and the last one is old enough."""
        if not report.healthy or report.check - self._kept_at < self._every:
            return
        old = self.checkpoint
        self.checkpoint = self._write(f"last_healthy_step_{report.step}.ckpt")
        self._kept_at = report.check
        if old is not None and old != self.checkpoint:
            old.unlink(missing_ok=True)

    def __call__(self, alert: Alert) -> None:
        """At red: give the healthy checkpoint its final name and save the state at the alarm."""
        if not _confirms(alert):
            return
        if self.checkpoint is not None and self.checkpoint.exists():
            final = _final(self.checkpoint)
            move(self.checkpoint, final)
            _log.warning("💾 the model from before the collapse is %s", final)
            self.checkpoint = None
            self._kept_at = -self._every
        if alert.step != self._alarm_step:
            self._alarm_step = alert.step
            saved = self._write(f"model_at_alarm_step_{alert.step}.ckpt")
            _log.warning("💾 the model at the alarm is %s", saved)

    def _write(self, name: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        save_whole(self.directory / name, self._save)
        return self.directory / name


def _confirms(alert: Alert) -> bool:
    return alert.level is Level.RED and alert.kind == "collapse" and not alert.optional


def _final(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name.replace("last_healthy", "model_before_collapse"))


class StopWhenCollapsed(CheckResponse):
    """Stops the training after so many red checks in a row.

    Args:
        stop: called once, with a message.
        patience: red checks in a row.
    """

    def __init__(self, stop: Callable[[str], object], patience: int = 200) -> None:
        self.red_checks = 0
        self._stop = stop
        self._patience = patience

    def on_report(self, report: Report) -> None:
        """Count red checks; at the last one of patience, stop."""
        self.red_checks = self.red_checks + 1 if report.level is Level.RED else 0
        if self.red_checks == self._patience:
            message = (
                f"training is stopped at step {report.step}: {self._patience} checks in a row "
                f"were red; last healthy step: {report.last_healthy_step}."
            )
            _log.error(message)
            self._stop(message)

    def __call__(self, alert: Alert) -> None:
        """An alert alone stops nothing."""
