"""The words for people: what an indicator means, what to do, titles and texts of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Alert, Indicator, Report

INDICATORS = {
    "information": ("below {:.3g} nats", "the latent carries almost nothing about the data"),
    "growth": ("below {:.3g}", "training is pushing the posterior means together"),
    "kl": ("below {:.3g} nats", "the posterior is almost the prior"),
    "variance": ("within {:.3g} of 1", "the posterior variance is almost the prior's"),
    "active_units": ("a share below {:.3g}", "almost no unit's mean depends on the data"),
    "mismatch": (
        "a KL above {:.3g} nats",
        "the KL is paid but carries no information (free bits or an offset)",
    ),
    "reconstruction_trend": ("a share above {:.3g}", "the reconstruction loss is rising"),
    "explosion": ("above {:.3g}", "the posterior diverges from the prior or is not finite"),
    "manual_variance": ("below {:.3g}", "as the manual had it: a small variance is a live unit"),
    "manual_active_units": ("a share below {:.3g}", "as the manual had it: 1 in a collapse"),
}
"""Every indicator by name: how it is compared with its limit, and what it means."""


def describe(indicator: Indicator) -> str:
    """An indicator in one phrase: name, value, limit and meaning."""
    relation, meaning = INDICATORS[indicator.name]
    return f"{indicator.name} {indicator.value:.3g}, {relation.format(indicator.limit)}: {meaning}"


def alert_title(alert: Alert) -> str:
    """At most 63 characters, for a tracker's headline."""
    if alert.kind != "collapse":
        return f"{alert.kind}: {alert.latent}"[:63]
    if alert.level < alert.previous:
        head = "improving" if alert.level else "recovery"
    else:
        head = ("", "watch", "collapse risk", "posterior collapse")[alert.level]
    return f"{head}: {alert.latent} {alert.previous.name} -> {alert.level.name}"[:63]


def alert_text(alert: Alert) -> str:
    """The whole message: what, why, the last healthy step and what to do."""
    lines = [f"Step {alert.step}: {alert_title(alert)}"]
    lines += [f"  - {describe(indicator)}" for indicator in alert.indicators]
    if alert.level > alert.previous:
        healthy = "none so far" if alert.last_healthy_step is None else alert.last_healthy_step
        lines.append(f"  last healthy step: {healthy}")
    if alert.advice:
        lines.append(f"  what to do: {alert.advice}")
    return "\n".join(lines)


def advice(level: int, indicators: tuple[Indicator, ...]) -> str:
    """What to do at a level, in plain words."""
    names = {indicator.name for indicator in indicators}
    if level == 0:
        return ""
    if level == 1:
        return "keep watching; nothing needs to be done yet"
    steps = [
        "check that the reconstruction term is summed over pixels (or tokens), not averaged",
        "lower beta or warm it up more slowly",
        "try free bits or a weaker decoder",
    ]
    if "mismatch" in names:
        steps[2] = "the KL is held up by free bits or an offset: weaken the decoder"
    head = "stop and restart from before the collapse; " if level == 3 else ""
    return head + "; ".join(steps)


def verdict(report: Report) -> str:
    """The end of a run in one line."""
    latents = ", ".join(f"{name} {r.level.name}" for name, r in report.latents.items())
    healthy = "never" if report.last_healthy_step is None else f"step {report.last_healthy_step}"
    return (
        f"{report.level.emoji} verdict at step {report.step}: {report.level.name} ({latents}); "
        f"last healthy: {healthy}"
    )
