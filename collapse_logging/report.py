"""Values that leave the detector: levels, indicators, alerts and reports.

Everything here is frozen, plain and on the host, so that a writer can keep it, print it or
send it without touching the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alert_parts import Action, Forecast
from .messages import alert_lines, alert_text, alert_title, describe

Vector = NDArray[np.float64]

MOST_LATENTS = 200
"""Latents that trackers show, in the order of their coming; more would drown them in tags."""


class Level(IntEnum):
    """How worried to be about a latent; the manual's three warnings and their absence."""

    OK = 0
    YELLOW = 1
    ORANGE = 2
    RED = 3

    @property
    def emoji(self) -> str:
        """The manual's sign for the level."""
        return ("🟢", "🟡", "🟠", "🔴")[self]


@dataclass(frozen=True)
class Indicator:
    """One measure on the wrong side of its limit.

    Attributes:
        name: for example ``"information"``; see :data:`collapse_logging.messages.INDICATORS`.
        value: what was measured (nats for information and kl, a t value for growth).
        limit: the limit that it crossed.
    """

    name: str
    value: float
    limit: float

    def __str__(self) -> str:
        """Name, value, limit and meaning in one phrase."""
        return describe(self)


@dataclass(frozen=True)
class Alert:
    """A change of a latent's level.

    Attributes:
        step: training step of the check.
        latent: the latent's name.
        previous: level before.
        level: level now; lower than ``previous`` means recovery.
        indicators: what was raised at this check.
        last_healthy_step: last step at which every latent was healthy, None if none ever was.
        advice: what to do about it, in plain words.
        kind: ``"collapse"``, or ``"explosion"`` for its opposite, which leaves the level alone.
        since: step of the first check in a row at which something was wrong.
        units: indices of the units that carry nothing (a signal fraction of at most 0.05).
        unit_count: units of the latent.
        forecast: when the information will be below its limit, where it is falling.
        probed: the decoder was probed and confirms the level.
        checkpoint: file name of the last healthy checkpoint, if one is kept.
        actions: what responses do about it.
        optional: the latent was declared optional; the run's level and responses ignore it.
        language: of title and text, see :mod:`collapse_logging.words`.
    """

    step: int
    latent: str
    previous: Level
    level: Level
    indicators: tuple[Indicator, ...] = ()
    last_healthy_step: int | None = None
    advice: str = ""
    kind: str = "collapse"
    since: int | None = None
    units: tuple[int, ...] = ()
    unit_count: int = 0
    forecast: Forecast | None = None
    probed: bool = False
    checkpoint: str | None = None
    actions: tuple[Action, ...] = ()
    optional: bool = False
    language: str = "en"

    @property
    def title(self) -> str:
        """At most 63 characters, for a tracker's headline."""
        return alert_title(self)

    @property
    def text(self) -> str:
        """The whole message: what, why, since when, the last healthy step and what to do."""
        return alert_text(self)

    @property
    def lines(self) -> list[str]:
        """The message below its title, line by line."""
        return alert_lines(self)


@dataclass(frozen=True)
class LatentReport:
    """One latent at one check.

    Attributes:
        level: its level after the check.
        measures: scalars by name, e.g. ``measures["information"]`` in nats. A measure that
            could not be taken (growth without a gradient) is absent.
        per_unit: vectors ``[units]`` by name, e.g. ``per_unit["posterior_variance"]``.
        indicators: what is on the wrong side of its limit.
    """

    level: Level
    measures: Mapping[str, float]
    per_unit: Mapping[str, Vector]
    indicators: tuple[Indicator, ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of one check over all steps since the last one.

    Attributes:
        step: training step at which the window ended.
        check: how many checks came before it.
        level: the worst level of its latents, those aside that were declared optional.
        latents: one :class:`LatentReport` a name.
        alerts: changes of level at this check.
        measures: what belongs to the run and not to a latent (``reconstruction_loss``).
        steps: training steps in the window.
        last_healthy_step: last step at which every latent carried information, or None.
    """

    step: int
    check: int
    level: Level
    latents: Mapping[str, LatentReport]
    alerts: tuple[Alert, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    last_healthy_step: int | None = None

    @property
    def healthy(self) -> bool:
        """Whether this very check found every latent carrying information."""
        return self.last_healthy_step == self.step

    def scalars(self, prefix: str = "collapse") -> dict[str, float]:
        """All finite scalars by tag, of the first :data:`MOST_LATENTS` latents."""
        values = {f"{prefix}/level": float(self.level)}
        values.update({f"{prefix}/{name}": value for name, value in self.measures.items()})
        for name, latent in islice(self.latents.items(), MOST_LATENTS):
            values[f"{prefix}/{name}/level"] = float(latent.level)
            values.update({f"{prefix}/{name}/{key}": v for key, v in latent.measures.items()})
        return {tag: value for tag, value in values.items() if math.isfinite(value)}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; per-unit vectors to five significant digits."""
        return {
            "step": self.step,
            "check": self.check,
            "level": self.level.name,
            "steps": self.steps,
            "last_healthy_step": self.last_healthy_step,
            "measures": _finite(self.measures),
            "latents": {name: _latent_to_dict(latent) for name, latent in self.latents.items()},
            "alerts": [alert_to_dict(alert) for alert in self.alerts],
        }


def alert_to_dict(alert: Alert) -> dict[str, Any]:
    """An alert as plain JSON values."""
    return {
        "step": alert.step,
        "latent": alert.latent,
        "kind": alert.kind,
        "previous": alert.previous.name,
        "level": alert.level.name,
        "last_healthy_step": alert.last_healthy_step,
        "since": alert.since,
        "units": list(alert.units),
        "unit_count": alert.unit_count,
        "forecast": None if alert.forecast is None else asdict(alert.forecast),
        "probed": alert.probed,
        "checkpoint": alert.checkpoint,
        "actions": [asdict(action) for action in alert.actions],
        "optional": alert.optional,
        "language": alert.language,
        "advice": alert.advice,
        "indicators": [_indicator_to_dict(indicator) for indicator in alert.indicators],
    }


def _latent_to_dict(latent: LatentReport) -> dict[str, Any]:
    return {
        "level": latent.level.name,
        "measures": _finite(latent.measures),
        "per_unit": {
            name: [float(f"{x:.5g}") if math.isfinite(x) else None for x in vector.tolist()]
            for name, vector in latent.per_unit.items()
        },
        "indicators": [_indicator_to_dict(indicator) for indicator in latent.indicators],
    }


def _indicator_to_dict(indicator: Indicator) -> dict[str, Any]:
    return {
        "name": indicator.name,
        "value": float(indicator.value) if math.isfinite(indicator.value) else None,
        "limit": float(indicator.limit) if math.isfinite(indicator.limit) else None,
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
