"""The messages for people: titles and texts of alerts, advice, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from .words import catalogue, word

if TYPE_CHECKING:
    from .alert_parts import Forecast
    from .report import Alert, Indicator, Report

INDICATORS = {
    "information": "below nats",
    "growth": "below",
    "kl": "below nats",
    "variance": "within of 1",
    "active_units": "share below",
    "mismatch": "kl above nats",
    "decoder_ignores_latent": "gap below",
    "usage": "share below",
    "reconstruction_trend": "share above",
    "explosion": "above",
    "manual_variance": "below",
    "manual_active_units": "share below",
}
"""Every indicator by name, and how it is compared with its limit."""

MEASURES = (
    "level",
    "information",
    "kl",
    "mismatch",
    "growth",
    "active_units",
    "active_fraction",
    "informative_units",
    "passive_units",
    "posterior_variance",
    "mean_variance",
    "within_batch_variance",
    "mutual_information",
    "mutual_information_cap",
    "decoder_gap",
    "decoder_gap_error",
    "beta",
    "reconstruction_loss",
    "overhead_ms",
    "overhead_share",
    "samples",
    "nonfinite",
    "clamped",
    "perplexity",
    "usage",
    "dead_codes",
    "outside_codes",
)
"""Every scalar, the most important first; quantiles are explained with their mean."""

QUIET = (
    "no watched latent was run in training mode for %d steps. If the model is compiled watch it "
    "before its first step, or call torch._dynamo.reset() after watch; if another part is "
    "trained, this is as it should be."
)

NO_GROWTH = (
    "latent %r: growth is left out, and red comes later: the mean is used where it is made, "
    "inside a compiled graph, and its whole gradient does not leave it. Watch the module that "
    "returns (mean, log_variance) and nothing else."
)

UNSEEN = (
    "what a module returned beside its mean, in a compiled graph, was read as a log-variance, and "
    "all of it is positive. If it is a variance or a scale, say so: 'PATH as mean, variance'."
)

NO_PLOT = (
    "plot_frequency=%s is ignored: no plot is drawn in the training process, where one costs half "
    "a second. collapse-logging report draws it, while training goes on or after it; the charts "
    "are in your trackers."
)

_MOST_UNITS = 8


def describe(indicator: Indicator, language: str = "en") -> str:
    """An indicator in one phrase: name, value, limit and meaning."""
    name = indicator.name
    relation = catalogue(language)[INDICATORS[name]].format(indicator.limit)
    meaning = word(language, name)
    return word(
        language, "indicator", name=name, value=indicator.value, relation=relation, meaning=meaning
    )


def alert_title(alert: Alert) -> str:
    """At most 63 characters, for a tracker's headline."""
    language, latent = alert.language, alert.latent
    title = word(
        language,
        "title" if alert.kind == "collapse" else "title without levels",
        head=alert_head(alert),
        latent=word(language, "optional", latent=latent) if alert.optional else latent,
        previous=word(language, alert.previous.name),
        level=word(language, alert.level.name),
    )
    return title[:63]


def alert_head(alert: Alert) -> str:
    """What has happened, in two words."""
    if alert.kind != "collapse":
        key = "title explosion"
    elif alert.level < alert.previous:
        key = "title improving" if alert.level else "title recovery"
    else:
        key = ("title watch", "title watch", "title risk", "title collapse")[alert.level]
    return word(alert.language, key)


def alert_lines(alert: Alert) -> list[str]:
    """What stands below the title: why, since when, which units, what comes, what to do."""
    language = alert.language
    lines = [describe(indicator, language) for indicator in alert.indicators]
    if alert.level > alert.previous:
        lines += _circumstances(alert)
        healthy = alert.last_healthy_step
        step = word(language, "never healthy") if healthy is None else healthy
        lines.append(word(language, "last healthy", step=step))
        if alert.checkpoint:
            lines.append(word(language, "checkpoint", name=alert.checkpoint))
        if alert.level == 3 and not alert.probed:
            lines.append(word(language, "not probed"))
    for action in alert.actions:
        lines.append(word(language, "action", **asdict(action)))
    if alert.advice:
        lines.append(word(language, "what to do", advice=alert.advice))
    return lines


def alert_text(alert: Alert) -> str:
    """The whole message."""
    first = word(alert.language, "step", step=alert.step, title=alert_title(alert))
    return "\n".join([first, *(f"  - {line}" for line in alert_lines(alert))])


def _circumstances(alert: Alert) -> list[str]:
    language, lines = alert.language, []
    if alert.since is not None and alert.since < alert.step:
        lines.append(word(language, "since", step=alert.since))
    if alert.units and len(alert.units) == alert.unit_count:
        lines.append(word(language, "all units", count=alert.unit_count))
    elif alert.units:
        shown = [str(unit) for unit in alert.units[:_MOST_UNITS]]
        shown += ["…"] if len(alert.units) > _MOST_UNITS else []
        units = word(language, "list").join(shown)
        lines.append(word(language, "units", units=units, count=alert.unit_count))
    if alert.forecast is not None:
        lines.append(_forecast(alert.forecast, language))
    return lines


def _forecast(forecast: Forecast, language: str) -> str:
    key = "forecast open" if forecast.high is None else "forecast"
    return word(
        language,
        key,
        limit=forecast.limit,
        step=forecast.step,
        low=forecast.low,
        high=forecast.high,
    )


def advice(
    level: int,
    indicators: Sequence[Indicator],
    language: str = "en",
    beta: tuple[float, float] | None = None,
    codebook: bool = False,
    healthy: bool = True,
) -> str:
    """What to do at a level, in plain words.

    Args:
        level: 0 to 3.
        indicators: what is raised.
        language: of :data:`collapse_logging.words.LANGUAGES`.
        beta: its value now and at the last healthy step, if it was told and has risen.
        codebook: whether the latent is one: then it is not the KL that takes it away.
        healthy: whether there is a healthy step to go back to.
    """
    names = {indicator.name for indicator in indicators}
    if level < 2:
        return word(language, "advise watch") if level else ""
    stop = "advise stop" if healthy else "advise afresh"
    steps = [stop] if level == 3 else []
    ignored = "decoder_ignores_latent" in names and "information" not in names
    if codebook and not ignored:
        steps += ["advise codes", "advise book"]
    elif ignored:
        steps.append("advise ignored")
    else:
        last = "advise floor" if "mismatch" in names else "advise decoder"
        steps += ["advise sum", "advise beta", last]
    now, then = beta or (0.0, 0.0)
    if beta is not None and "advise beta" in steps:
        steps[steps.index("advise beta")] = "advise beta back"
    semicolon = word(language, "semicolon")
    return semicolon.join(word(language, key, now=now, then=then) for key in steps)


def verdict(report: Report, language: str = "en") -> str:
    """The end of a run in one line."""
    latents = word(language, "comma").join(
        f"{name} {word(language, latent.level.name)}" for name, latent in report.latents.items()
    )
    healthy = word(language, "verdict never")
    if report.last_healthy_step is not None:
        healthy = word(language, "verdict step", step=report.last_healthy_step)
    line = word(
        language,
        "verdict",
        step=report.step,
        level=word(language, report.level.name),
        latents=latents,
        healthy=healthy,
    )
    return f"{report.level.emoji} {line}"
