"""The level machine: from the indicators of one check to a level that can be trusted over time.

A latent's :class:`Standing` is all that is remembered between checks; it is a value, and
:meth:`Standing.after` is a pure function, so the machine can be run over any recorded series.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .report import Indicator, Level
from .rules import Rules

_LOG_FLOOR = 1e-12
_RISING = 0.005
"""Slope of ln information a check above which it rises; below it is rounding or rest."""


@dataclass(frozen=True)
class Standing:
    """A latent's level, and what the next check must remember of the last ones.

    The counters count checks in a row: ``small`` information, ``dead`` (far below the limit),
    ``shrinking`` (small and growth negative), ``several`` indicators, ``calm`` (better than the
    level).
    """

    level: Level = Level.OK
    checks: int = 0
    small: int = 0
    dead: int = 0
    shrinking: int = 0
    several: int = 0
    calm: int = 0
    log_information: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        values = dataclasses.asdict(self)
        return values | {
            "level": int(self.level),
            "log_information": list(self.log_information),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Standing:
        """The standing that :meth:`to_dict` wrote."""
        history = tuple(values["log_information"])
        return cls(**{**values, "level": Level(values["level"]), "log_information": history})

    @property
    def slope(self) -> float:
        """Slope of ln information over the checks remembered, per check; NaN with fewer than 2."""
        if len(self.log_information) < 2:
            return math.nan
        checks = np.arange(len(self.log_information))
        return float(np.polyfit(checks, self.log_information, 1)[0])

    def after(
        self,
        rules: Rules,
        measures: Mapping[str, float],
        indicators: tuple[Indicator, ...],
        dimensions: float,
    ) -> Standing:
        """The latent's standing after this check.

        Red needs small information **and** negative growth in ``confirm_checks`` checks in a row
        **and** information that does not rise; without growth, information below a fifth of
        its limit in twice as many. A latent that is coming alive is never accused, however small
        it still is. A level is left only beyond twice the limit, for ``recovery_checks`` checks.
        """
        raised = [i for i in indicators if i.name != "explosion"]
        if rules.literal:
            level = Level(min(len(raised), 3))
            return dataclasses.replace(self, level=level, checks=self.checks + 1)
        if "information" not in measures:
            return dataclasses.replace(self, checks=self.checks + 1)
        information, limit = measures["information"], rules.small_information(dimensions)
        growth = measures.get("growth", math.nan)
        shrinking = information < limit and growth < -rules.growth_limit
        history = (*self.log_information, math.log(max(information, _LOG_FLOOR)))
        now = dataclasses.replace(
            self,
            checks=self.checks + 1,
            log_information=history[-rules.confirm_checks - 1 :],
            small=self.small + 1 if information < limit else 0,
            dead=self.dead + 1 if information < 0.2 * limit else 0,
            shrinking=self.shrinking + 1 if shrinking else 0,
            several=self.several + 1 if len(raised) > 1 else 0,
        )
        if now.checks <= rules.skip_checks:
            return dataclasses.replace(now, small=0, dead=0, shrinking=0, several=0)
        candidate = now._candidate(rules, growth, len(raised))
        return now._settle(rules, candidate, recovered=information > 2.0 * limit)

    def _candidate(self, rules: Rules, growth: float, raised: int) -> Level:
        """The level that this check alone calls for."""
        rising = self.slope > _RISING
        if growth > rules.growth_limit or (rising and not self.shrinking):
            return Level.OK
        if self.shrinking >= rules.confirm_checks and not rising:
            return Level.RED
        if self.dead >= 2 * rules.confirm_checks and not rising:
            return Level.RED
        if self.small >= rules.confirm_checks or self.several >= 2:
            return Level.ORANGE
        return Level.YELLOW if raised else Level.OK

    def _settle(self, rules: Rules, candidate: Level, recovered: bool) -> Standing:
        """Go up at once, and down only after ``recovery_checks`` better checks in a row."""
        if candidate >= self.level:
            return dataclasses.replace(self, level=candidate, calm=0)
        if not recovered:
            return dataclasses.replace(self, calm=0)
        if self.calm + 1 < rules.recovery_checks:
            return dataclasses.replace(self, calm=self.calm + 1)
        return dataclasses.replace(self, level=candidate, calm=0)
