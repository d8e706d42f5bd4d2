"""The verdict on a run: one word, one exit code, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..report import LatentReport, Level, Report
from .recording import Recording

HEALTHY, AT_RISK, COLLAPSED, CANNOT_TELL = "healthy", "at risk", "collapsed", "cannot tell"
_WORST_FIRST = (COLLAPSED, AT_RISK, CANNOT_TELL, HEALTHY)


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a run.

    Attributes:
        word: ``"healthy"``, ``"at risk"``, ``"collapsed"`` or ``"cannot tell"``.
        level: the level at the newest check, None if there was none.
        latents: the latents that the verdict is about.
        why: for ``"cannot tell"`` a key word (``"no report"``, ``"not observed"``,
            ``"too early"``, ``"diverging"``), or the message of what went wrong; else empty.
    """

    word: str
    level: Level | None = None
    latents: tuple[str, ...] = ()
    why: str = ""

    @property
    def severity(self) -> tuple[int, int]:
        """Sorts verdicts, the worst first."""
        return _WORST_FIRST.index(self.word), -int(self.level or 0)

    def exit_code(self, fail_on: Level = Level.RED) -> int:
        """0 healthy or below ``fail_on``, 1 at it or above, 2 cannot tell."""
        if self.word == CANNOT_TELL:
            return 2
        return int(self.level is not None and self.level >= fail_on)


def judge(recording: Recording) -> Verdict:
    """The verdict on a recording, from its newest check.

    A run is healthy only if some check found every latent carrying information: one that has only
    begun, or has never been fed, is neither healthy nor collapsed.
    """
    report = recording.report
    if report is None:
        return Verdict(CANNOT_TELL, why=recording.problem or "no report")
    worst_latents = tuple(name for name, r in report.latents.items() if r.level == report.level)
    if report.level is Level.RED:
        return Verdict(COLLAPSED, report.level, worst_latents)
    if why := _unknown(report):
        return Verdict(CANNOT_TELL, report.level, _diverging(report.latents), why)
    if report.level:
        return Verdict(AT_RISK, report.level, worst_latents)
    return Verdict(HEALTHY, report.level, tuple(report.latents))


def worst(codes: Iterable[int]) -> int:
    """The exit code for several runs: 1 if one collapsed, else 2 if one cannot be told, else 0."""
    found = set(codes)
    return 1 if 1 in found else max(found, default=2)


def _unknown(report: Report) -> str:
    if _diverging(report.latents):
        return "diverging"
    if not any(latent.measures.get("samples") for latent in report.latents.values()):
        return "not observed"
    if not report.level and report.last_healthy_step is None:
        return "too early"
    return ""


def _diverging(latents: Mapping[str, LatentReport]) -> tuple[str, ...]:
    return tuple(
        name
        for name, latent in latents.items()
        if any(indicator.name == "explosion" for indicator in latent.indicators)
    )
