"""An alert: what changed, why, since when, which units, what comes, what to do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .family_measures import INFORMATIVE_NATS
from .forecast import forecast
from .levels import Standing
from .limits import Limits
from .measures import INFORMATIVE_FRACTION
from .messages import advice
from .report import Alert, LatentReport, Level
from .words import word


class Scene(NamedTuple):
    """What an alert must know of the run.

    Attributes:
        language: of the alerts.
        step: training step of the check.
        beta: weight of the KL now, NaN if it is not known.
        healthy_step: last step at which every latent carried information, or None.
        healthy_beta: the weight then.
    """

    language: str
    step: int
    beta: float
    healthy_step: int | None
    healthy_beta: float


def level_alert(
    name: str,
    latent: LatentReport,
    previous: Level,
    standing: Standing,
    scene: Scene,
    limits: Limits,
) -> Alert:
    """The alert of a latent whose level has changed.

    Args:
        name: the latent.
        latent: its report at this check.
        previous: its level before.
        standing: its standing after the check.
        scene: the run.
        limits: nats below which information is little, and as good as none.
    """
    worse = latent.level > previous
    shown = latent.indicators if latent.level else ()
    risen = scene.beta > scene.healthy_beta  # NaN is never greater
    betas = (scene.beta, scene.healthy_beta) if risen else None
    fallen = latent.measures.get("information", 0.0) <= limits.little
    below = limits.dead if fallen else limits.little
    return Alert(
        scene.step,
        name,
        previous,
        latent.level,
        shown,
        scene.healthy_step,
        advice(
            latent.level,
            shown,
            scene.language,
            betas,
            codebook="usage" in latent.measures,
            healthy=scene.healthy_step is not None,
        ),
        since=standing.since if worse else None,
        units=silent_units(latent) if worse else (),
        unit_count=len(next(iter(latent.per_unit.values()))),
        forecast=forecast(standing.history, below) if worse else None,
        probed="decoder_gap" in latent.measures,
        language=scene.language,
    )


def explosion_alert(name: str, latent: LatentReport, scene: Scene) -> Alert | None:
    """The alert of a latent that diverges, or None; the level is left alone."""
    found = tuple(i for i in latent.indicators if i.name == "explosion")
    if not found:
        return None
    return Alert(
        scene.step,
        name,
        latent.level,
        latent.level,
        found,
        scene.healthy_step,
        word(scene.language, "advise explosion"),
        kind="explosion",
        language=scene.language,
    )


def silent_units(latent: LatentReport) -> tuple[int, ...]:
    """Units that carry nothing: a signal fraction of at most 0.05 (see ``informative_units``)."""
    if "mean_variance" not in latent.per_unit:
        return _indices(~(latent.per_unit["information"] > INFORMATIVE_NATS))
    signal, variance = latent.per_unit["mean_variance"], latent.per_unit["posterior_variance"]
    return _indices(~(signal > INFORMATIVE_FRACTION * (signal + variance)))


def _indices(silent: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(silent).tolist())
