"""Responses: what is done about an alert. Any callable that takes an Alert is one."""

from __future__ import annotations

import logging
import os
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .alert_parts import Action
from .files import move, part_of, remove, save_whole
from .report import Alert, Level, Report
from .words import word

Response = typing.Callable[[Alert], None]

_log = logging.getLogger("collapse_logging")


class CheckResponse(ABC):
    """A response that must also see the checks that raise no alert.

    Attributes:
        checkpoint: the file that holds the last healthy model, if this response keeps one.
        needs_all_ranks: whether it must be called on all ranks or on none.
    """

    checkpoint: Path | None = None
    needs_all_ranks: bool = False

    def checkpoint_after(self, report: Report) -> Path | None:
        """Where the last healthy model will be once this report is answered."""
        return self.checkpoint

    def plan(self, alert: Alert) -> Action | None:
        """What it will do about an alert, for the alert to say so; None: nothing that it says."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What it remembers between checks, as plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - optional
        """Continue from :meth:`state_dict`."""

    @abstractmethod
    def on_report(self, report: Report) -> None:
        """Called at every check, before the alerts."""

    @abstractmethod
    def __call__(self, alert: Alert) -> None:
        """Called for every alert, on every rank."""


def needs_all_ranks(response: Response) -> bool:
    """Whether a response must be called on all ranks or on none."""
    return isinstance(response, CheckResponse) and response.needs_all_ranks


def announced(report: Report, responses: Sequence[Response]) -> Report:
    """The report with alerts that say what responses will do about them.

    The file that one keeps for the last healthy step, and what others do, each once a check.
    """
    alerts = list(report.alerts)
    seeing = [response for response in responses if isinstance(response, CheckResponse)]
    kept = (response.checkpoint_after(report) for response in seeing if alerts)
    name = next((Path(path).name for path in kept if path), None)
    alerts = [replace(alert, checkpoint=name) for alert in alerts]
    for response in seeing:
        for place, alert in enumerate(alerts):
            plan = None if alert.optional else response.plan(alert)
            if plan is not None:
                alerts[place] = replace(alert, actions=(*alert.actions, plan))
                break
    return replace(report, alerts=tuple(alerts)) if alerts else report


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
        owner: whether this process names and removes the files. Where all ranks save together,
            the one that writes.
        verbose: say where the files are through the ``logging`` module.
    """

    def __init__(
        self,
        save: Callable[[Path], object],
        directory: str | os.PathLike[str],
        every: int = 10,
        owner: bool = True,
        verbose: bool = True,
    ) -> None:
        self.directory = Path(directory)
        self._save = save
        self._every = every
        self._owner = owner
        self._severity = logging.WARNING if verbose else logging.DEBUG
        self._kept_at = -every
        self._alarm_step = -1

    def state_dict(self) -> dict[str, Any]:
        """The file, the check at which it was saved and the step of the last alarm."""
        name = None if self.checkpoint is None else str(self.checkpoint)
        return {"checkpoint": name, "kept_at": self._kept_at, "alarm_step": self._alarm_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the file, whatever a session that was killed has done to it since."""
        self._kept_at, self._alarm_step = int(state["kept_at"]), int(state["alarm_step"])
        self.checkpoint = Path(state["checkpoint"]) if state["checkpoint"] else None
        if self.checkpoint is None or not self._owner or self.checkpoint.exists():
            return
        if (renamed := _final(self.checkpoint)).exists():
            move(renamed, self.checkpoint)
            return
        later = self.checkpoint.parent.glob("last_healthy_step_*.ckpt")
        self.checkpoint = max(later, key=os.path.getmtime, default=None)

    def checkpoint_after(self, report: Report) -> Path | None:
        """At red the file under its final name."""
        if self.checkpoint is None or not any(map(_confirms, report.alerts)):
            return self.checkpoint
        return _final(self.checkpoint)

    def on_report(self, report: Report) -> None:
        """Renew the checkpoint if this check is healthy and the last one is old enough."""
        if not report.healthy or report.check - self._kept_at < self._every:
            return
        old, kept_at = self.checkpoint, self._kept_at
        path = self.directory / f"last_healthy_step_{report.step}.ckpt"
        self.checkpoint, self._kept_at = path, report.check  # first: it is part of what is saved
        try:
            self._write(path)
        except Exception:
            self.checkpoint = old
            if not self.needs_all_ranks:  # where one rank alone failed, none must try alone
                self._kept_at = kept_at
            raise
        if old is not None and old != path:
            self._remove(old)

    def __call__(self, alert: Alert) -> None:
        """At red: give the healthy checkpoint its final name and save the state at the alarm."""
        if not _confirms(alert):
            return
        kept, self.checkpoint = self.checkpoint, None
        self._kept_at = -self._every
        if kept is not None and self._owner and kept.exists():
            move(kept, _final(kept))
            self._tell(alert, "kept before", _final(kept))
        if alert.step != self._alarm_step:
            self._alarm_step = alert.step
            path = self.directory / f"model_at_alarm_step_{alert.step}.ckpt"
            self._write(path)
            self._tell(alert, "kept alarm", path)

    def _tell(self, alert: Alert, key: str, path: Path) -> None:
        _log.log(self._severity, "%s", word(alert.language, key, path=path))

    def _write(self, final: Path) -> None:
        if self._owner:
            self.directory.mkdir(parents=True, exist_ok=True)
            save_whole(final, self._save)
        else:
            self._save(part_of(final))

    def _remove(self, path: Path) -> None:
        if self._owner:
            remove(path)


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

    def state_dict(self) -> dict[str, Any]:
        """The red checks in a row so far."""
        return {"red_checks": self.red_checks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Count on."""
        self.red_checks = int(state["red_checks"])

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
