"""A ledger read as a stream: 100,000 checks in seconds, whatever the latents' size."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..report import Alert, Forecast, Indicator, LatentReport, Level, Report
from .find import LEDGER
from .recording import DRAWN, Columns, Recording, UnitHistory

_MOST_ROWS = 400
"""Rows of per-unit vectors that are kept at least, of a long run; at most twice as many are."""

_LEVELS = {level.name: float(level) for level in Level}
_PER_UNIT, _NO_ALERTS = b'"per_unit":{', b'"alerts":[]'
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What a line raises that is not JSON, or not a report of ours."""


def read_ledger(path: Path, series: bool = False) -> Recording:
    """What a ledger says. A line that a kill or a writer at work left unfinished is left out.

    Args:
        path: the file.
        series: also keep the scalars of every check; without it only alerts and the newest check
            are decoded, which is many times faster.

    Raises:
        OSError: the file cannot be read.
    """
    reader = _Reader(series)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                reader.take(line)
    try:
        return reader.recording(path)
    except _DAMAGED:  # the newest line was not looked into before, and is damaged
        if series:
            raise
        return dataclasses.replace(read_ledger(path, series=True), series=None)


def without_units(line: bytes) -> bytes:
    """The line with its per-unit vectors, nine tenths of it, taken out.

    The mark cannot stand within a JSON string, whose quotes are escaped; should a latent be named
    ``per_unit``, the result is not JSON and the caller decodes the whole line.
    """
    parts, place = [], 0
    while (start := line.find(_PER_UNIT, place)) >= 0:
        parts.append(line[place : start + len(_PER_UNIT)])
        place = line.find(b"}", start)
        if place < 0:
            return line
    return b"".join([*parts, line[place:]])


class _Reader:
    """Takes lines in order. A session that begins again at an earlier step replaces what it had."""

    def __init__(self, series: bool) -> None:
        self._columns = Columns() if series else None
        self._units: list[tuple[int, int, dict[str, Any]]] = []
        self._every = 1
        self._settings: dict[str, Any] = {}
        self._alerts: list[Alert] = []
        self._newest: bytes | None = None
        self._first_of_session = True
        self._count = self._damaged = 0

    def take(self, line: bytes) -> None:
        """One line, settings or report; one that is damaged is counted."""
        try:
            if self._skippable(line):
                self._newest = line
            else:
                self._decode(line)
        except _DAMAGED:
            self._damaged += 1

    def _skippable(self, line: bytes) -> bool:
        plain = self._columns is None and not self._first_of_session
        return plain and _NO_ALERTS in line and line.startswith(b'{"type":"report"')

    def _decode(self, line: bytes) -> None:
        whole = self._columns is not None and self._count % self._every == 0
        values = _loads(line, whole)
        if values.get("type") == "settings":
            self._settings = {key: value for key, value in values.items() if key != "type"}
            self._first_of_session = True
            return
        step = int(values["step"])
        alerts = [_alert_of(alert) for alert in values["alerts"]]
        scalars = _scalars(values)
        if self._first_of_session:
            self._cut(step)
        self._alerts += alerts
        self._newest, self._first_of_session = line, False
        if self._columns is not None:
            self._columns.add(step, scalars)
            self._count += 1
            if whole:
                self._keep_units(step, values)

    def _cut(self, step: int) -> None:
        self._alerts = [alert for alert in self._alerts if alert.step < step]
        self._units = [row for row in self._units if row[1] < step]
        if self._columns is not None:
            self._columns.cut(step)

    def _keep_units(self, step: int, values: Mapping[str, Any]) -> None:
        found = {
            name: latent["per_unit"]["information"]
            for name, latent in values["latents"].items()
            if latent["per_unit"].get("information")
        }
        self._units.append((self._count - 1, step, found))
        if len(self._units) > 2 * _MOST_ROWS:
            self._every *= 2
            self._units = [row for row in self._units if row[0] % self._every == 0]

    def recording(self, path: Path) -> Recording:
        """All of it."""
        newest = self._newest
        units = _unit_histories([(step, found) for _, step, found in self._units])
        return Recording(
            path,
            LEDGER,
            report=None if newest is None else report_of(json.loads(newest)),
            alerts=tuple(self._alerts),
            settings=self._settings,
            series=None if self._columns is None else self._columns.series(units),
            damaged=self._damaged,
        )


def _loads(line: bytes, whole: bool) -> dict[str, Any]:
    if not whole:
        try:
            values: dict[str, Any] = json.loads(without_units(line).decode())
        except ValueError:
            pass
        else:
            return values
    values = json.loads(line.decode())
    return values


def _scalars(values: Mapping[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = dict(values["measures"])
    for name, latent in values["latents"].items():
        measures = latent["measures"]
        for key in DRAWN:
            if key in measures:
                found[f"{name}/{key}"] = measures[key]
        found[f"{name}/level"] = _LEVELS[latent["level"]]
    return found


def _unit_histories(rows: list[tuple[int, dict[str, Any]]]) -> dict[str, UnitHistory]:
    """By latent, the rows that have as many units as the newest."""
    found = {}
    for name, newest in (rows[-1][1] if rows else {}).items():
        of = [(step, units[name]) for step, units in rows if name in units]
        of = [(step, values) for step, values in of if len(values) == len(newest)]
        steps, values = zip(*of, strict=True)
        found[name] = UnitHistory(np.array(steps, float), np.array(values, float))
    return found


def report_of(values: Mapping[str, Any]) -> Report:
    """The report that ``Report.to_dict`` made the values of; null is NaN."""
    return Report(
        step=int(values["step"]),
        check=int(values["check"]),
        level=Level[values["level"]],
        latents={name: _latent_of(latent) for name, latent in values["latents"].items()},
        alerts=tuple(_alert_of(alert) for alert in values["alerts"]),
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


def _alert_of(values: Mapping[str, Any]) -> Alert:
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
        optional=bool(values.get("optional", False)),
        language=str(values.get("language", "en")),
    )


def _indicator_of(values: Mapping[str, Any]) -> Indicator:
    return Indicator(values["name"], **_numbers({k: values[k] for k in ("value", "limit")}))


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: math.nan if value is None else float(value) for key, value in values.items()}
