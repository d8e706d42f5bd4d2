"""What ``check``, ``report`` and ``doctor`` say about a recording, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..messages import INDICATORS, advice, describe
from ..reading import Recording, Verdict
from ..report import Alert, Indicator, LatentReport, Level
from ..words import catalogue, word
from ..writers.base import printable

Say = Callable[..., str]
"""A text of the catalogue by its key, in a language that is settled."""

_SHOWN = ("information", "kl", "growth", "active_fraction")


def unknown(verdict: Verdict, language: str = "en") -> str:
    """Why nothing can be told; what is not in the catalogue is a message already."""
    return printable(catalogue(language).get(f"why {verdict.why}", verdict.why))


def meaning(indicator: Indicator, language: str = "en") -> str:
    """An indicator in one phrase; one of a version newer than this with its numbers only."""
    name, value, limit = indicator.name, indicator.value, indicator.limit
    if name in INDICATORS:
        return describe(indicator, language)
    return printable(word(language, "number limit", name=name, value=value, limit=limit))


def reasons(latent: LatentReport, language: str = "en") -> list[str]:
    """What is on the wrong side of its limit, else what was measured."""
    found = [meaning(indicator, language) for indicator in latent.indicators]
    return found or [measured(latent, language)]


def measured(latent: LatentReport, language: str = "en") -> str:
    """The measures that matter most, in one line."""
    say = catalogue(language)
    values = [
        say[f"measured {name}"].format(latent.measures[name])
        for name in _SHOWN
        if name in latent.measures
    ]
    return say["comma"].join(values) or say["nothing measured"]


def what_to_do(recording: Recording, language: str = "en") -> str:
    """Advice for the level that the run is at; empty for a healthy one."""
    report = recording.report
    if report is None:
        return ""
    latents = report.latents.values()
    found = tuple(indicator for latent in latents for indicator in latent.indicators)
    worst = [latent for latent in latents if latent.level is report.level]
    codebook = bool(worst) and all("usage" in latent.measures for latent in worst)
    return advice(report.level, found, language, codebook=codebook)


def level_shown(level: Level, language: str = "en") -> str:
    """A level by its sign and name."""
    return f"{level.emoji} {word(language, level.name)}"


def level_of(recording: Recording, latent: str, language: str = "en") -> str:
    """A latent's level, and since when it has been there."""
    assert recording.report is not None  # who asks about a latent has seen it
    level = level_shown(recording.report.latents[latent].level, language)
    since = recording.since(latent)
    return level if since is None else word(language, "level since", level=level, step=since)


def place(recording: Recording, language: str = "en") -> str:
    """How far the run is and what it was read from."""
    damaged = counted(language, recording.damaged, "damaged line")
    return word(
        language,
        "place",
        progress=progress(recording, language),
        source=word(language, recording.source),
        left_out=word(language, "left out", damaged=damaged) if recording.damaged else "",
    )


def progress(recording: Recording, language: str = "en") -> str:
    """How far the run is."""
    report = recording.report
    assert report is not None  # who asks has seen a check
    return word(
        language,
        "progress",
        step=report.step,
        checks=counted(language, report.check + 1, "check"),
        alerts=counted(language, len(recording.alerts), "alert"),
    )


def counted(language: str, count: int, what: str) -> str:
    """A number of things; their plural is in the catalogue too."""
    return word(language, what if count == 1 else f"{what}s", count=count)


def last_healthy(recording: Recording, language: str = "en") -> str:
    """The last step at which every latent carried information."""
    step = None if recording.report is None else recording.report.last_healthy_step
    return word(language, "never") if step is None else str(step)


def least_information(recording: Recording, latents: Iterable[str]) -> str:
    """The smallest information of these latents, in nats."""
    found = recording.report.latents if recording.report is not None else {}
    values = [found[name].measures.get("information", math.nan) for name in latents]
    known = [value for value in values if math.isfinite(value)]
    return f"{min(known):.3g}" if known else "-"


def names(latents: Sequence[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    more = f" +{len(latents) - most}" if len(latents) > most else ""
    return printable(", ".join(latents[:most])) + more or "-"


def tally(verdicts: Iterable[str], language: str = "en") -> str:
    """How many runs have which verdict."""
    return word(language, "comma").join(
        word(language, "tally", count=count, verdict=word(language, verdict))
        for verdict, count in Counter(verdicts).items()
    )


def change(alert: Alert, language: str = "en") -> str:
    """An alert's change of level."""
    if alert.kind != "collapse":
        return word(language, "title explosion")
    return " → ".join(word(language, level.name) for level in (alert.previous, alert.level))


def first_red(recording: Recording) -> int | None:
    """Step of the first red alert, None if there was none."""
    steps = (a.step for a in recording.alerts if a.level is Level.RED and a.kind == "collapse")
    return next(steps, None)
