"""The words for people: what an indicator means and what to do at a level."""

from __future__ import annotations

from .report import Indicator, Level

INDICATORS = {
    "information": "the latent carries almost nothing about the data",
    "growth": "training is pushing the posterior means together",
    "kl": "the posterior is almost the prior",
    "variance": "the posterior variance is almost the prior's",
    "active_units": "almost no unit's mean depends on the data",
    "mismatch": "the KL is paid but carries no information (free bits or an offset)",
    "reconstruction_trend": "the reconstruction loss is rising",
    "explosion": "the posterior diverges from the prior or is not finite",
}
"""Every indicator by name, with what it means."""


def advice(level: Level, indicators: tuple[Indicator, ...]) -> str:
    """What to do at a level, in plain words."""
    names = {indicator.name for indicator in indicators}
    if level is Level.OK:
        return ""
    if level is Level.YELLOW:
        return "keep watching; nothing needs to be done yet"
    steps = [
        "check that the reconstruction term is summed over pixels (or tokens), not averaged",
        "lower beta or warm it up more slowly",
        "try free bits or a weaker decoder",
    ]
    if "mismatch" in names:
        steps[2] = "the KL is held up by free bits or an offset: weaken the decoder"
    head = "stop and restart from before the collapse; " if level is Level.RED else ""
    return head + "; ".join(steps)
