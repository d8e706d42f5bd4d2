"""A ledger read as a stream: 100,000 checks in seconds, whatever the latents' size."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..report import Alert, Level
from .find import LEDGER
from .recording import DRAWN, Columns, Recording, UnitHistory
from .reports import alert_of, report_of

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
        reader.take_all(file)
    try:
        return reader.recording(path)
    except _DAMAGED:  # the newest line was not looked into before, and is damaged
        if series:
            raise
        return dataclasses.replace(read_ledger(path, series=True), series=None)


class Follower:
    """Reads ledgers that grow again and again, and of each only what is new."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, _Reader]] = {}

    def read(self, path: Path) -> Recording:
        """As :func:`read_ledger` without the series; a file that was replaced is read anew.

        Raises:
            OSError: the file cannot be read.
        """
        with path.open("rb") as file:
            number = os.fstat(file.fileno()).st_ino
            known, place, reader = self._known.get(path, (number, 0, _Reader(False)))
            file.seek(max(place - 1, 0))
            if known != number or (place and file.read(1) != b"\n"):
                place, reader = file.seek(0), _Reader(False)
            place += reader.take_all(file)
        self._known[path] = number, place, reader
        try:
            return reader.recording(path)
        except _DAMAGED:
            return read_ledger(path)


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

    def take_all(self, lines: Iterable[bytes]) -> int:
        """Lines up to one that is not whole yet; returns their bytes."""
        size = 0
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self.take(line)
            size += len(line)
        return size

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
        alerts = [alert_of(alert) for alert in values["alerts"]]
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
