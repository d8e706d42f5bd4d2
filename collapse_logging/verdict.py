"""From a window that has reached the host to a report: measures, indicators, levels, alerts."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from torch import Tensor

from . import measures
from .levels import Standing
from .messages import advice
from .report import Alert, Indicator, LatentReport, Level, Report
from .rules import Rules
from .statistics import Statistics
from .window import Layout


class Judge:
    """Holds each latent's standing and turns windows into reports, in order."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.checks = 0
        self.last_healthy_step: int | None = None
        self._standings: dict[str, Standing] = {}
        self._exploding: dict[str, bool] = {}
        self._losses: deque[float] = deque(maxlen=rules.window_size)

    def report(self, vector: Tensor, layout: Layout, step: int, steps: int) -> Report:
        """Judge one window, and remember what the next one needs.

        Args:
            vector: the packed window, on the host.
            layout: how to read it.
            step: training step at which it ended.
            steps: training steps in it.
        """
        found, losses = layout.split(vector)
        seen = [loss for loss in losses.tolist() if math.isfinite(loss)]
        self._losses.extend(seen)
        trend = measures.trend(list(self._losses)) if seen else None
        before = dict(self._standings)
        latents = {
            name: self._latent(name, statistics, bound, cap, trend)
            for name, (statistics, bound, cap) in found.items()
        }
        self._note_health(latents, found, step)
        alerts = [a for name in latents for a in self._alerts(name, latents[name], before, step)]
        report = Report(
            step=step,
            check=self.checks,
            level=max((latent.level for latent in latents.values()), default=Level.OK),
            latents=latents,
            alerts=tuple(alerts),
            measures={"reconstruction_loss": sum(seen) / len(seen)} if seen else {},
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
            "losses": list(self._losses),
            "exploding": dict(self._exploding),
            "standings": {name: s.to_dict() for name, s in self._standings.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.checks = int(state["checks"])
        self.last_healthy_step = state["last_healthy_step"]
        self._losses.extend(state["losses"])
        self._exploding = dict(state["exploding"])
        self._standings = {n: Standing.from_dict(s) for n, s in state["standings"].items()}

    def _latent(
        self,
        name: str,
        statistics: Statistics,
        bound: float,
        cap: float,
        trend: tuple[float, float] | None,
    ) -> LatentReport:
        values = measures.scalars(statistics)
        if "information" in values and math.isfinite(bound):
            values |= {"mutual_information": bound, "mutual_information_cap": cap}
        per_unit = measures.per_unit(statistics)
        dimensions = measures.dimensions(statistics)
        standing = self._standings.get(name, Standing())
        indicators: tuple[Indicator, ...] = ()
        if values["samples"] or values.get("nonfinite"):
            raised = self.rules.indicators(values, per_unit, dimensions, trend)
            indicators = raised if standing.checks >= self.rules.skip_checks else ()
            standing = standing.after(self.rules, values, raised, dimensions)
        self._standings[name] = standing
        return LatentReport(standing.level, values, per_unit, indicators)

    def _note_health(
        self,
        latents: dict[str, LatentReport],
        found: dict[str, tuple[Statistics, float, float]],
        step: int,
    ) -> None:
        healthy = bool(latents) and all(
            latent.level is Level.OK
            and latent.measures.get("information", 0.0)
            >= self.rules.small_information(measures.dimensions(found[name][0]))
            for name, latent in latents.items()
        )
        if healthy:
            self.last_healthy_step = step

    def _alerts(
        self, name: str, latent: LatentReport, before: dict[str, Standing], step: int
    ) -> list[Alert]:
        alerts = []
        previous = before.get(name, Standing()).level
        if latent.level is not previous:
            told = advice(latent.level, latent.indicators)
            shown = latent.indicators if latent.level else ()
            alerts.append(
                Alert(step, name, previous, latent.level, shown, self.last_healthy_step, told)
            )
        explosion = tuple(i for i in latent.indicators if i.name == "explosion")
        if explosion and not self._exploding.get(name):
            told = "lower the learning rate, clip gradients or bound ln sigma^2"
            alerts.append(
                Alert(
                    step,
                    name,
                    latent.level,
                    latent.level,
                    explosion,
                    self.last_healthy_step,
                    told,
                    kind="explosion",
                )
            )
        self._exploding[name] = bool(explosion)
        return alerts
