"""What ``check``, ``report`` and ``doctor`` say about a recording, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ..messages import INDICATORS, advice, describe
from ..reading import Recording, Verdict
from ..report import Alert, Indicator, LatentReport, Level
from ..writers.base import printable

UNKNOWN = {
    "no report": "no check has been written yet, or none that can be read",
    "not observed": "the latents were not observed in the last check: is the model in training?",
    "too early": "no check has found every latent carrying information yet: too early to say",
    "diverging": "the posterior diverges or is not finite, which is not a collapse, and not health",
}
"""Why a verdict is ``cannot tell``, by ``Verdict.why``; anything else is a message already."""

NOTHING = (
    "no ledger, event files or .wandb file of a detector found; collapse-logging doctor {} may "
    "say why."
)
"""A folder without a recording."""

_SHOWN = (("information", " nats"), ("kl", " nats"), ("growth", ""), ("active_fraction", ""))


def unknown(verdict: Verdict) -> str:
    """Why nothing can be told."""
    return printable(UNKNOWN.get(verdict.why, verdict.why))


def meaning(indicator: Indicator) -> str:
    """An indicator in one phrase; one of a version newer than this with its numbers only."""
    if indicator.name in INDICATORS:
        return describe(indicator)
    return printable(f"{indicator.name} {indicator.value:.3g}, limit {indicator.limit:.3g}")


def reasons(latent: LatentReport) -> list[str]:
    """What is on the wrong side of its limit, else what was measured."""
    return [meaning(indicator) for indicator in latent.indicators] or [measured(latent)]


def measured(latent: LatentReport) -> str:
    """The measures that matter most, in one line."""
    values = [
        f"{name.replace('_', ' ')} {latent.measures[name]:.3g}{unit}"
        for name, unit in _SHOWN
        if name in latent.measures
    ]
    return ", ".join(values) or "nothing measured"


def what_to_do(recording: Recording) -> str:
    """Advice for the level that the run is at; empty for a healthy one."""
    report = recording.report
    if report is None:
        return ""
    found = (i for latent in report.latents.values() for i in latent.indicators)
    return advice(report.level, tuple(found))


def level_of(recording: Recording, latent: str) -> str:
    """A latent's level, and since when it has been there."""
    assert recording.report is not None  # who asks about a latent has seen it
    level = recording.report.latents[latent].level
    since = recording.since(latent)
    return level.name if since is None else f"{level.name} since step {since}"


def place(recording: Recording) -> str:
    """How far the run is and what it was read from."""
    damaged = counted(recording.damaged, "damaged line")
    left_out = f", {damaged} left out" if recording.damaged else ""
    return f"{progress(recording)}, read from its {recording.source}{left_out}"


def progress(recording: Recording) -> str:
    """How far the run is."""
    report = recording.report
    assert report is not None  # who asks has seen a check
    checks = counted(report.check + 1, "check")
    return f"step {report.step}, {checks}, {counted(len(recording.alerts), 'alert')}"


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def last_healthy(recording: Recording) -> str:
    """The last step at which every latent carried information."""
    step = None if recording.report is None else recording.report.last_healthy_step
    return "never" if step is None else str(step)


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


def tally(verdicts: Iterable[str]) -> str:
    """How many runs have which verdict."""
    return ", ".join(f"{count} {word}" for word, count in Counter(verdicts).items())


def change(alert: Alert) -> str:
    """An alert's change of level."""
    if alert.kind != "collapse":
        return alert.kind
    return f"{alert.previous.name} → {alert.level.name}"


def first_red(recording: Recording) -> int | None:
    """Step of the first red alert, None if there was none."""
    steps = (a.step for a in recording.alerts if a.level is Level.RED and a.kind == "collapse")
    return next(steps, None)
