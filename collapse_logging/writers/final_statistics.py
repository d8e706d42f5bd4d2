"""The statistics of a run: what was found, where its files are, what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..report import Level, Report
from ..words import word
from .base import printable
from .ledger import LEDGER_NAME

_PARAMETERS = (
    "kl_threshold",
    "var_threshold",
    "active_units_threshold",
    "window_size",
    "check_frequency",
    "early_stop_patience",
)


class Tally:
    """Counts warnings by level, each once, however often it comes; and finds the first red."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], tuple[Level, str | None]] = {}

    def add(self, alerts: Iterable[Mapping[str, Any]]) -> None:
        """Those of latents that got worse, as the ledger has them."""
        for alert in alerts:
            level, previous = Level[alert["level"]], Level[alert["previous"]]
            if alert["kind"] == "collapse" and level > previous and not alert["optional"]:
                self._seen[alert["step"], alert["latent"]] = (level, alert["checkpoint"])

    def count(self, level: Level) -> int:
        """Warnings of a level."""
        return sum(found is level for found, _ in self._seen.values())

    @property
    def first_red(self) -> tuple[int, str | None] | None:
        """Step of the first collapse and the file name of the model from before it."""
        reds = [(at[0], file) for at, (level, file) in self._seen.items() if level is Level.RED]
        return min(reds, key=lambda red: red[0], default=None)


def final_statistics(report: Report, tally: Tally, settings: Mapping[str, Any], log: Path) -> str:
    """The text of ``final_statistics.txt``, in the detector's language.

    Args:
        report: the last one.
        tally: the warnings of the run.
        settings: as writers get them.
        log: the detection log, beside which the file will lie: it names no folder.
    """
    say = partial(word, settings.get("language", "en"))
    counts = {level: tally.count(level) for level in list(Level)[1:]}
    by_level = say("comma").join(f"{level.emoji} {count}" for level, count in counts.items())
    red, healthy = tally.first_red, report.last_healthy_step
    levels = say("comma").join(
        f"{printable(name)} {latent.level.emoji} {say(latent.level.name)}"
        for name, latent in report.latents.items()
    )
    rows = [
        ("checks", report.check + 1),
        ("warnings", say("statistics by level", count=sum(counts.values()), levels=by_level)),
        ("found", say("statistics no" if red is None else "statistics yes")),
    ]
    if red is not None:
        rows.append(("at", red[0]))
    rows += [
        ("healthy", say("never healthy") if healthy is None else healthy),
        ("last step", report.step),
        ("levels", levels),
    ]
    if red is not None and red[1]:
        rows.append(("model", red[1]))
    rows += [("log", log.name), ("ledger", LEDGER_NAME)]
    title = say("statistics title")
    parameters = [
        say("statistics line", what=say(f"statistics {n}"), value=settings[n])
        for n in _PARAMETERS
        if n in settings
    ]
    return "\n".join(
        [title, "=" * 19]
        + [say("statistics line", what=say(f"statistics {name}"), value=v) for name, v in rows]
        + ["", say("statistics parameters"), *parameters, ""]
    )
