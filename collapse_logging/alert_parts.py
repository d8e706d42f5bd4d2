"""What an alert holds beside its levels: what comes, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Forecast:
    """When a falling information will be below a limit, if it goes on as it did.

    Attributes:
        step: the most likely training step.
        low: the earliest, of a 95 % interval.
        high: the latest; None where the fall is too uncertain to say.
        limit: the limit, nats.
    """

    step: int
    low: int
    high: int | None
    limit: float


@dataclass(frozen=True)
class Action:
    """What a response does about an alert: it sets a number of the model.

    Attributes:
        attribute: its name, dotted, from the model on.
        before: the number until now.
        after: the number from now on.
    """

    attribute: str
    before: float
    after: float
