"""From the scalars of a tracker to a recording: what a ledger would have said, less the reasons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..report import Alert, LatentReport, Level, Report, Vector
from ..rules import Rules
from .recording import Recording, Series


def prefixes(tags: Iterable[str]) -> list[str]:
    """The names of the detectors that wrote these tags.

    A detector writes ``<name>/level`` and, for each latent, ``<name>/<latent>/samples``.
    """
    tags = set(tags)
    found: list[str] = []
    for tag in sorted(tag for tag in tags if tag.endswith("/level")):
        name = tag.removesuffix("/level")
        inside = any(name.startswith(f"{other}/") for other in found)
        if not inside and latents_of(t.removeprefix(f"{name}/") for t in tags if _in(t, name)):
            found.append(name)
    return found


def latents_of(tags: Iterable[str]) -> list[str]:
    """The latents among tags without their first part."""
    return sorted(tag.removesuffix("/samples") for tag in tags if tag.endswith("/samples"))


def _in(tag: str, name: str) -> bool:
    return tag.startswith(f"{name}/")


def recording_of(
    path: Path, source: str, name: str, series: Series, settings: Mapping[str, Any] | None = None
) -> Recording:
    """A recording from its series; alerts are the changes of level, without indicators."""
    latents = latents_of(series.scalars)
    healthy = _last_healthy_step(series, latents)
    alerts = [alert for latent in latents for alert in _changes(series, latent)]
    return Recording(
        path,
        source,
        name,
        report=_newest(series, latents, healthy),
        alerts=tuple(sorted(alerts, key=lambda alert: alert.step)),
        settings=settings or {},
        series=series,
    )


def _newest(series: Series, latents: list[str], healthy: int | None) -> Report | None:
    if not len(series.steps):
        return None
    values = {tag: float(column[-1]) for tag, column in series.scalars.items()}
    values = {tag: value for tag, value in values.items() if math.isfinite(value)}
    reports = {}
    for latent in latents:
        inside = {t.removeprefix(f"{latent}/"): v for t, v in values.items() if _in(t, latent)}
        level = Level(int(inside.pop("level", 0)))
        reports[latent] = LatentReport(level, inside, {})
    return Report(
        step=int(series.steps[-1]),
        check=len(series.steps) - 1,
        level=Level(int(values.get("level", 0))),
        latents=reports,
        measures={tag: v for tag, v in values.items() if tag != "level" and "/" not in tag},
        last_healthy_step=healthy,
    )


def _changes(series: Series, latent: str) -> list[Alert]:
    levels = series.scalars[f"{latent}/level"]
    known = np.flatnonzero(np.isfinite(levels))
    now = levels[known].astype(int)
    before = np.concatenate([[0], now[:-1]])
    return [
        Alert(int(series.steps[known[i]]), latent, Level(before[i]), Level(now[i]))
        for i in np.flatnonzero(now != before)
    ]


def _last_healthy_step(series: Series, latents: list[str]) -> int | None:
    """The last check at which each latent was OK and not below the default information limit."""
    healthy = np.full(len(series.steps), bool(latents))
    for latent in latents:
        healthy &= _healthy(series, latent)
    places = np.flatnonzero(healthy)
    return int(series.steps[places[-1]]) if len(places) else None


def _healthy(series: Series, latent: str) -> Vector:
    nothing = np.full(len(series.steps), math.nan)
    level, information, active, fraction = (
        series.scalars.get(f"{latent}/{measure}", nothing)
        for measure in ("level", "information", "active_units", "active_fraction")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        units = np.nan_to_num(active / fraction, nan=0.0, posinf=0.0)
    limits = np.array([Rules().small_information(count) for count in units])
    found: Vector = (level == Level.OK) & (information >= limits)
    return found
