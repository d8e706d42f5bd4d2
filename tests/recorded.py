"""Run folders as trainings leave them, made by real monitors on posteriors of known fate."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from collapse_logging import Alert, Report
from collapse_logging.writers import LedgerWriter, MemoryWriter, TensorBoardWriter, Writer
from collapse_logging.writers.ledger import LEDGER_NAME

from .writers.conftest import drive


def collapsed(folder: Path, *writers: Writer, latents: tuple[str, ...] = ("z",)) -> list[Report]:
    """A run that dies at its fifth check, with a ledger; returns its reports."""
    return _recorded(folder, writers, 12, latents)


def at_risk(folder: Path, *writers: Writer) -> list[Report]:
    """The same run, seen while it is orange."""
    return _recorded(folder, writers, 6, ("z",))


def healthy(folder: Path, *writers: Writer, latents: tuple[str, ...] = ("z",)) -> list[Report]:
    """Four checks at which nothing is wrong."""
    return _recorded(folder, writers, 4, latents)


def _recorded(
    folder: Path, writers: tuple[Writer, ...], checks: int, latents: tuple[str, ...]
) -> list[Report]:
    memory = MemoryWriter()
    drive([LedgerWriter(folder), memory, *writers], checks=checks, latents=latents)
    return memory.reports


def events_only(folder: Path, prefix: str = "collapse", checks: int = 12) -> None:
    """A collapsed run of which only the event file was kept."""
    drive([TensorBoardWriter(folder, prefix=prefix)], checks=checks)
    (folder / LEDGER_NAME).unlink()


def long_ledger(folder: Path, reports: list[Report], checks: int) -> Path:
    """A ledger of many checks: each of a run's reports many times, with steps that go on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LEDGER_NAME
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type":"settings","information_limit":0.5}\n')
        for i, report in enumerate(reports):
            first, end = (checks * j // len(reports) for j in (i, i + 1))
            file.write(_line(report, first, report.alerts))
            again = _line(report, -1, ())
            mark = '"step":0,"check":-1,'
            for check in range(first + 1, end):
                file.write(again.replace(mark, f'"step":{50 * (check + 1)},"check":{check},', 1))
    return path


def _line(report: Report, check: int, alerts: tuple[Alert, ...]) -> str:
    step = 50 * (check + 1)
    moved = tuple(dataclasses.replace(alert, step=step) for alert in alerts)
    report = dataclasses.replace(report, step=step, check=check, alerts=moved)
    line = {"type": "report", **report.to_dict()}
    return json.dumps(line, separators=(",", ":")) + "\n"
