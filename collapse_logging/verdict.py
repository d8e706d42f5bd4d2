"""From a window that has reached the host to a report: measures, indicators, levels, alerts."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import measures
from .alerts import Scene, explosion_alert, level_alert
from .arguments import checked_list
from .family_statistics import unpacked
from .levels import Standing
from .limits import Limits, limits_of
from .own_measures import OwnMeasures
from .report import Alert, Indicator, LatentReport, Level, Report
from .rows import Shape
from .rules import Rules
from .snapshot import Seen, Snapshot
from .taken import Reader, Taken, Window, merged, same_kind
from .words import known_language

ENOUGH_SAMPLES = 32
"""Windows of fewer samples are merged with the last ones. More would be smoother and later: merged
up to 1,024 samples no benchmark training was judged better and late collapses 100 to 300 steps
later, see benchmarks/detection."""

_MOST_MERGED = 8

_MANUAL = (
    "rules='manual' judges as the manual's code did, for comparison only. It takes a small "
    "posterior variance for a collapse, but a collapsed posterior has the prior's, 1, and a small "
    "one is a sharp, healthy unit; its ratio of active units reads 100 % in a collapse; a KL "
    "threshold is met by every slow start and hidden by free bits. Leave rules out to have "
    "collapses found."
)
_log = logging.getLogger("collapse_logging")

_PROBE_EVERY = 10
"""Checks from one probe of the decoder to the next while nothing is suspected."""


class Judge:
    """Holds each latent's standing and turns windows into reports, in order.

    Args:
        rules: limits and counts.
        optional: latents whose level the run's level ignores.
        language: of the alerts; None: the environment's.
        own: the user's own measures.

    Raises:
        TypeError, ValueError: ``optional`` is no list of names, the language is not known.
    """

    def __init__(
        self,
        rules: Rules,
        optional: Sequence[str] = (),
        language: str | None = None,
        own: OwnMeasures | None = None,
    ) -> None:
        self.rules = rules
        if rules.literal:
            _log.warning(_MANUAL)
        self.optional = frozenset(
            checked_list(optional, "optional", lambda name: isinstance(name, str))
        )
        self.language = known_language(language)
        self._own = own or OwnMeasures()
        self._reader = Reader(self._own.strict)
        self.checks = 0
        self.last_healthy_step: int | None = None
        self._healthy_beta = math.nan
        self._standings: dict[str, Standing] = {}
        self._recent: dict[str, deque[Window]] = {}
        self._exploding: dict[str, bool] = {}
        self._losses: deque[float] = deque(maxlen=rules.window_size)

    @property
    def wants_probe(self) -> bool:
        """Whether the decoder should be probed for the next check."""
        suspected = any(standing.suspected for standing in self._standings.values())
        return suspected or self.checks % _PROBE_EVERY == _PROBE_EVERY - 1

    # an overflow is infinity or NaN in the report, and an explosion; not a warning of NumPy's
    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def report(self, snapshot: Snapshot, step: int, steps: int) -> Report:
        """Judge one window, and remember what the next one needs.

        Args:
            snapshot: the window.
            step: training step at which it ended.
            steps: training steps in it.
        """
        seen = [loss for loss in snapshot.losses if math.isfinite(loss)]
        self._losses.extend(seen)
        trend = measures.trend(list(self._losses)) if seen else None
        before = {name: standing.level for name, standing in self._standings.items()}
        taken = {
            name: self._reader.take(name, s.statistics) for name, s in snapshot.latents.items()
        }
        windows = {name: window for name, window in taken.items() if window is not None}
        latents = {
            name: self._latent(name, snapshot.latents[name], window, trend, step, snapshot.beta)
            for name, window in windows.items()
        }
        limits = {name: limits_of(self.rules, window) for name, window in windows.items()}
        self._note_health(latents, limits, snapshot.beta, step)
        scene = Scene(
            self.language, step, snapshot.beta, self.last_healthy_step, self._healthy_beta
        )
        alerts = [
            alert
            for name, latent in latents.items()
            for alert in self._alerts(name, latent, before.get(name, Level.OK), scene, limits[name])
        ]
        levels = [latent.level for name, latent in latents.items() if name not in self.optional]
        values = {"reconstruction_loss": sum(seen) / len(seen) if seen else math.nan}
        values["beta"] = snapshot.beta
        report = Report(
            step=step,
            check=self.checks,
            level=max(levels, default=Level.OK),
            latents=latents,
            alerts=tuple(alerts),
            measures={name: value for name, value in values.items() if math.isfinite(value)},
            steps=steps,
            last_healthy_step=self.last_healthy_step,
        )
        self.checks += 1
        return report

    def state_dict(self) -> dict[str, Any]:
        """Standings and history as plain values."""
        return {
            "checks": self.checks,
            "last_healthy_step": self.last_healthy_step,
            "healthy_beta": self._healthy_beta,
            "losses": list(self._losses),
            "exploding": dict(self._exploding),
            "recent": {
                name: [{"shape": list(w.shape), "sums": w.pack()} for w in windows]
                for name, windows in self._recent.items()
            },
            "standings": {name: s.to_dict() for name, s in self._standings.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.checks = int(state["checks"])
        self.last_healthy_step = state["last_healthy_step"]
        self._healthy_beta = float(state["healthy_beta"])
        self._losses = deque(state["losses"], maxlen=self.rules.window_size)
        self._exploding = dict(state["exploding"])
        self._recent = {}
        for name, kept in state["recent"].items():
            windows = (unpacked(w["sums"], Shape(*w["shape"])) for w in kept)
            self._recent[name] = deque(windows, maxlen=_MOST_MERGED - 1)
        self._standings = {n: Standing.from_dict(s) for n, s in state["standings"].items()}

    def _latent(
        self,
        name: str,
        seen: Seen,
        window: Taken,
        trend: tuple[float, float] | None,
        step: int,
        beta: float,
    ) -> LatentReport:
        taken = self._merged(name, seen.statistics, window)
        values, per_unit = taken.scalars, dict(taken.per_unit)
        if "information" in values:
            values |= {key: v for key, v in seen.extras.items() if math.isfinite(v)}
        standing = self._standings.get(name, Standing())
        indicators: tuple[Indicator, ...] = ()
        if values["samples"] or values.get("nonfinite"):
            size, limits = taken.dimensions, limits_of(self.rules, taken)
            raised = self.rules.indicators(values, per_unit, size, trend, limits.little)
            indicators = raised if standing.checks >= self.rules.skip_checks else ()
            standing = standing.after(self.rules, values, raised, size, step, beta, limits)
        if "information" in values:
            scalars, vectors = self._own.of(name, taken.read, seen.statistics.units)
            values, per_unit = scalars | values, vectors | per_unit
        self._standings[name] = standing
        return LatentReport(standing.level, values, per_unit, indicators)

    def _merged(self, name: str, window: Window, taken: Taken) -> Taken:
        """The window with the last ones, until there are enough samples.

        A window without a finite sample stays alone: merged it would be the last ones judged
        again.
        """
        recent = self._recent.setdefault(name, deque(maxlen=_MOST_MERGED - 1))
        if any(not same_kind(earlier, window) for earlier in recent):
            recent.clear()
        if not taken.samples:
            return taken
        enough = max(ENOUGH_SAMPLES, taken.enough)
        if taken.samples >= enough:
            recent.clear()  # no later window reaches beyond it
        together, samples = window, taken.samples
        for earlier in reversed(recent):
            if samples >= enough:
                break
            together = merged(together, earlier, window)
            samples = measures.samples(together)
        recent.append(window)
        return taken if together is window else self._reader.take(name, together) or taken

    def _note_health(
        self, latents: dict[str, LatentReport], limits: dict[str, Limits], beta: float, step: int
    ) -> None:
        watched = {name: v for name, v in latents.items() if name not in self.optional}
        healthy = bool(watched) and all(
            latent.level is Level.OK
            and latent.measures.get("information", 0.0) >= limits[name].little
            for name, latent in watched.items()
        )
        if healthy:
            self.last_healthy_step, self._healthy_beta = step, beta

    def _alerts(
        self, name: str, latent: LatentReport, previous: Level, scene: Scene, limits: Limits
    ) -> list[Alert]:
        alerts = []
        if latent.level is not previous:
            standing = self._standings[name]
            alerts.append(level_alert(name, latent, previous, standing, scene, limits))
        explosion = explosion_alert(name, latent, scene)
        if explosion and not self._exploding.get(name):
            alerts.append(explosion)
        self._exploding[name] = explosion is not None
        return [replace(alert, optional=name in self.optional) for alert in alerts]
