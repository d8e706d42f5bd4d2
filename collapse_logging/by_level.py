"""Responses by level: what is called when a latent arrives at yellow, orange or red."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from .alert_parts import Action
from .arguments import checked_list, got
from .remedies import Remedy, is_worse
from .report import Alert, Level, Report
from .responses import CheckResponse, Response


class AtLevel(CheckResponse):
    """Answers only when a latent gets worse and arrives at one level.

    Args:
        level: the level.
        response: what is called with the alert.
    """

    def __init__(self, level: Level, response: Response) -> None:
        self.level = level
        self._response = response

    def plan(self, alert: Alert) -> Action | None:
        """What a remedy will do."""
        due = isinstance(self._response, Remedy) and self._is_due(alert)
        return typing.cast(Remedy, self._response).action(alert) if due else None

    def __call__(self, alert: Alert) -> None:
        """Answer, if it is the level."""
        if isinstance(self._response, Remedy):
            self._response.act(self.plan(alert), alert.step)
        elif self._is_due(alert):
            self._response(alert)

    def on_report(self, report: Report) -> None:
        """A check alone is not answered."""

    def state_dict(self) -> dict[str, Any]:
        """A remedy's."""
        return self._response.state_dict() if isinstance(self._response, Remedy) else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A remedy's."""
        if isinstance(self._response, Remedy):
            self._response.load_state_dict(state)

    def _is_due(self, alert: Alert) -> bool:
        return is_worse(alert) and alert.level is self.level


ByLevel = Mapping[str, Response]
"""``on_yellow``, ``on_orange`` and ``on_red``, those that were given."""


def checked_by_level(
    on_yellow: Response | None, on_orange: Response | None, on_red: Response | None
) -> ByLevel:
    """Those that were given, by the name of the argument.

    Raises:
        TypeError: what is no response, or one that must see every check.
    """
    given = {"on_yellow": on_yellow, "on_orange": on_orange, "on_red": on_red}
    found = {name: response for name, response in given.items() if response is not None}
    for name, response in found.items():
        if not callable(response) or isinstance(response, type):
            raise TypeError(
                f"{name}: expected a function that takes an Alert, got {got(response)}."
            )
        if isinstance(response, CheckResponse) and not isinstance(response, Remedy):
            raise TypeError(
                f"{name}: {type(response).__name__} must see every check; write responses=[...]."
            )
    return found


def answers(responses: Sequence[Response], by_level: ByLevel) -> list[Response]:
    """All responses in one list, those by level last.

    Raises:
        TypeError: what is no list of responses.
        ValueError: a remedy of which it is not known whose number it is to set.
    """
    given = list(checked_list(responses, "responses", callable))
    for remedy in remedies(given, by_level):
        if not remedy.bound:
            kind = type(remedy).__name__
            raise ValueError(
                f"{kind}({remedy.attribute!r}): it is not known whose {remedy.attribute!r} is "
                f"meant; write {kind}({remedy.attribute!r}, of=model)."
            )
    levels = {f"on_{level.name.lower()}": level for level in Level}
    return given + [AtLevel(levels[name], response) for name, response in by_level.items()]


def remedies(responses: Sequence[Response], by_level: ByLevel) -> list[Remedy]:
    """Those of all responses that set a number of the model."""
    return [r for r in (*responses, *by_level.values()) if isinstance(r, Remedy)]
