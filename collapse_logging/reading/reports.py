"""Reports and alerts from the plain values that a ledger holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..alert_parts import Action, Forecast
from ..report import Alert, Indicator, LatentReport, Level, Report


def report_of(values: Mapping[str, Any]) -> Report:
    """The report that ``Report.to_dict`` made the values of; null is NaN."""
    return Report(
        step=int(values["step"]),
        check=int(values["check"]),
        level=Level[values["level"]],
        latents={name: _latent_of(latent) for name, latent in values["latents"].items()},
        alerts=tuple(alert_of(alert) for alert in values["alerts"]),
        measures=_numbers(values["measures"]),
        steps=int(values["steps"]),
        last_healthy_step=values["last_healthy_step"],
    )


def _latent_of(values: Mapping[str, Any]) -> LatentReport:
    return LatentReport(
        level=Level[values["level"]],
        measures=_numbers(values["measures"]),
        per_unit={name: np.array(vector, float) for name, vector in values["per_unit"].items()},
        indicators=tuple(_indicator_of(indicator) for indicator in values["indicators"]),
    )


def alert_of(values: Mapping[str, Any]) -> Alert:
    """The alert that ``alert_to_dict`` made the values of."""
    return Alert(
        step=int(values["step"]),
        latent=str(values["latent"]),
        previous=Level[values["previous"]],
        level=Level[values["level"]],
        indicators=tuple(_indicator_of(indicator) for indicator in values["indicators"]),
        last_healthy_step=values["last_healthy_step"],
        advice=values["advice"],
        kind=values["kind"],
        since=values.get("since"),
        units=tuple(values.get("units", ())),
        unit_count=int(values.get("unit_count", 0)),
        forecast=Forecast(**values["forecast"]) if values.get("forecast") else None,
        probed=bool(values.get("probed", False)),
        checkpoint=values.get("checkpoint"),
        actions=tuple(Action(**action) for action in values.get("actions", ())),
        optional=bool(values.get("optional", False)),
        language=str(values.get("language", "en")),
    )


def _indicator_of(values: Mapping[str, Any]) -> Indicator:
    return Indicator(values["name"], **_numbers({k: values[k] for k in ("value", "limit")}))


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: math.nan if value is None else float(value) for key, value in values.items()}
