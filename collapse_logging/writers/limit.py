"""How often people are disturbed: one message a change of level, few a minute, few a run."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ..report import Alert, Level
from ..words import word
from .base import printable

_MINUTE = 60.0
_MOST = 20
_FOR_RED = 5
"""Of the twenty, those that only a collapse may use: hours of yellow must not silence a red."""

_MOST_TEXTS = 10
_HARMLESS = str.maketrans("<>@[]`", "‹›＠［］'")
_SEVERITIES = {Level.OK: "INFO", Level.YELLOW: "INFO", Level.ORANGE: "WARN", Level.RED: "ERROR"}


@dataclass(frozen=True)
class Message:
    """What a service that reaches people is asked to send.

    Attributes:
        title: at most 63 characters.
        text: every change of level in full, and the time in UTC: it may arrive much later.
        severity: ``"INFO"``, ``"WARN"`` or ``"ERROR"``.
        step: of the newest alert.
    """

    title: str
    text: str
    severity: str
    step: int


class AlertLimit:
    """Turns alerts into few messages, and loses no change of level in silence.

    A level worse than what was told in the last minute is told at once, and a red always. The
    rest waits until a minute has passed since the last message and is then sent as one. So a
    collapse gives a message a change of level, however fast it is, and a level that goes to and
    fro gives one a minute. A run has twenty messages, the last five of them for red alone; the
    first that is refused becomes "further alerts suppressed". The ledger has them all.

    Args:
        deliver: sends a message. When it raises, its alerts are kept for the next one.
        clock: seconds that never go backwards.

    Attributes:
        sent: messages so far; of a run that is resumed, to be set to what it had.
        over: "further alerts suppressed" was sent; likewise.
    """

    def __init__(
        self, deliver: Callable[[Message], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        self._held: dict[tuple[int, str, str], Alert] = {}
        self._told_at = -math.inf
        self._told = Level.OK
        self.sent = 0
        self.over = False

    def send(self, alerts: Sequence[Alert] = (), now: bool = False) -> None:
        """Take a check's alerts, and deliver what is due; ``now``: whatever is held.

        Call it at each check, with or without alerts. An alert that comes twice, as after a
        failure, is sent once.
        """
        self._held.update({(a.step, a.latent, a.kind): a for a in alerts})
        if not self._held:
            return
        held = [_neutral(alert) for alert in self._held.values()]
        worst, seconds = max(_level(alert) for alert in held), self._clock()
        quiet = seconds - self._told_at >= _MINUTE
        if not (now or quiet or worst is Level.RED or worst > self._told):
            return
        if self.sent < _MOST - (0 if worst is Level.RED else _FOR_RED):
            self._deliver(_message(held, worst))
            self.sent += 1
            self._told = worst if quiet else max(worst, self._told)
            self._told_at = seconds
        elif not self.over:
            self._deliver(_last_message(self.sent, held[-1]))
            self.over = True
        self._held.clear()


def _message(alerts: Sequence[Alert], worst: Level) -> Message:
    heading = next(a for a in reversed(alerts) if _level(a) is worst)
    language, others = heading.language, len(alerts) - 1
    more = word(language, "more alerts", count=others) if others else ""
    texts = [alert.text for alert in alerts[-_MOST_TEXTS:]]
    if len(alerts) > _MOST_TEXTS:
        texts.insert(0, word(language, "earlier alerts", count=len(alerts) - _MOST_TEXTS))
    return Message(
        title=heading.title[: 63 - len(more)] + more,
        text="\n\n".join(texts) + f"\n{_utc()}",
        severity=_SEVERITIES[worst],
        step=alerts[-1].step,
    )


def _last_message(sent: int, newest: Alert) -> Message:
    language, left = newest.language, _MOST - sent
    but = word(language, "suppressed but", left=left) if left else ""
    text = word(language, "suppressed text", sent=sent, but=but)
    return Message(word(language, "suppressed"), f"{text}\n{_utc()}", "WARN", newest.step)


def _level(alert: Alert) -> Level:
    """How bad the news is: an explosion leaves the level alone, and getting better is good."""
    if alert.kind != "collapse":
        return Level.ORANGE
    return Level.OK if alert.level < alert.previous else alert.level


def _neutral(alert: Alert) -> Alert:
    """The alert with a latent's name that mentions nobody, links nowhere and is no markup.

    Such services pass the text on to mail and chat, where ``<!channel>`` wakes everybody.
    """
    name = printable(alert.latent).translate(_HARMLESS).replace("://", ":∕∕")
    return dataclasses.replace(alert, latent=name)


def _utc() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
