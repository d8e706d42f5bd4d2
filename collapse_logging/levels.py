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

from .forecast import slope
from .limits import Limits, usual_limits
from .report import Indicator, Level
from .rules import Rules

_ALMOST = 0.5
"""Red needs information below this share of its limit: what lies above may be little, but used."""

_DEEP = 0.02
_STRONG = 2.5
_WEIGHT = 4
"""A shrinking check counts so often if information is below ``_DEEP`` of its limit and falling,
and growth below minus ``_STRONG`` growth limits: three signs that no slow start gave together."""

_FALLING = -0.05
_RISING = 0.005
_RESTING = 0.01
"""Slopes of ln information a check: clearly falling below the first, rising above the second; a
latent that was dead for ``_STALE`` confirmations and rises no faster than the third stays dead."""

_STALE = 3
_USED, _SURELY = 3.0, 8.0
_FADED = 0.05
"""Standard errors by which a decoder gap must differ from nothing; a gap of less than the last
share of the information needs more of them (a loss that is no sum of nats has small gaps)."""

_PAIRS = ("history", "gaps")
_LOG_FLOOR = 1e-12
_REMEMBERED = 24


@dataclass(frozen=True)
class Standing:
    """A latent's level, and what the next check must remember of the last ones.

    The counters count checks in a row: ``small`` information, ``dead`` (far below the limit),
    ``silent`` (dead and no growth that promises more), ``shrinking`` (small and growth negative; a
    strong one counts more), ``calm`` (better than the level). ``lived`` says that it carried
    enough before. ``history`` holds step and ln information of the last checks, ``gaps`` the
    probes (gap and error) of the last checks in a row of a latent that informs, ``ignored`` what
    they led to, ``betas`` the weights of the KL, ``since`` the step at which something began to be
    wrong.
    """

    level: Level = Level.OK
    checks: int = 0
    small: int = 0
    dead: int = 0
    silent: int = 0
    shrinking: int = 0
    calm: int = 0
    lived: bool = False
    since: int | None = None
    history: tuple[tuple[int, float], ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()
    ignored: bool = False
    betas: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint; a beta that was not told is NaN, which is no JSON."""
        values: dict[str, Any] = dataclasses.asdict(self)
        pairs = {name: [list(pair) for pair in values[name]] for name in _PAIRS}
        return {**values, **pairs, "level": int(self.level), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Standing:
        """The standing that :meth:`to_dict` wrote."""
        pairs = {name: tuple((a, b) for a, b in values[name]) for name in _PAIRS}
        level, betas = Level(values["level"]), tuple(values["betas"])
        return cls(**{**values, **pairs, "level": level, "betas": betas})

    @property
    def suspected(self) -> bool:
        """Whether the next check may confirm something: the time to probe the decoder."""
        if self.level is Level.RED:
            return False
        doubtful = bool(self.gaps) and self.gaps[-1][0] < _SURELY * self.gaps[-1][1]
        return self.level is Level.ORANGE or self.shrinking > 1 or doubtful

    def after(
        self,
        rules: Rules,
        measures: Mapping[str, float],
        indicators: tuple[Indicator, ...],
        dimensions: float,
        step: int = 0,
        beta: float = math.nan,
        limits: Limits | None = None,
    ) -> Standing:
        """The latent's standing after this check.

        Red needs almost no information **and** negative growth in ``confirm_checks`` checks in a
        row **and** information that falls, from where it lived or to next to nothing; in twice as
        many checks, that does not rise. Where growth says nothing, dead information in twice as
        many checks that does not rise (in as many, if it plunged there from where it lived); and
        after three times as many whatever growth promises. A
        latent that is coming alive is never accused before that, however small it is, nor one
        that the decoder was just seen to use. A latent that informs, but that the decoder was
        seen to ignore in ``confirm_checks`` probes, is red, too. A level is left only beyond
        twice the limit, for ``recovery_checks`` checks.

        Args:
            rules: limits and counts.
            measures: the latent's scalars at this check.
            indicators: what is on the wrong side of its limit.
            dimensions: units times positions.
            step: training step of the check.
            beta: weight of the KL, NaN if it is not known.
            limits: below which information is little; None: as for a Gaussian.

        Source: calibrated on real trainings, see benchmarks/detection.
        """
        raised = [i for i in indicators if i.name != "explosion"]
        since = (step if self.since is None else self.since) if raised else None
        now = dataclasses.replace(self, checks=self.checks + 1, since=since)
        if rules.literal:
            return dataclasses.replace(now, level=Level(min(len(raised), 3)))
        if "information" not in measures:
            return dataclasses.replace(now, since=self.since)
        limits = limits or usual_limits(rules, dimensions)
        limit = limits.little
        now = now._remembering(rules, measures, step, beta)._counted(rules, measures, limits)
        now = now._probed(rules, measures)
        if now.checks <= rules.skip_checks:
            return now
        candidate = now._candidate(rules, measures, limit, bool(raised))
        return now._settle(rules, candidate, recovered=measures["information"] > 2.0 * limit)

    def _remembering(
        self, rules: Rules, measures: Mapping[str, float], step: int, beta: float
    ) -> Standing:
        """The histories after this check."""
        point = (step, math.log(max(measures["information"], _LOG_FLOOR)))
        return dataclasses.replace(
            self,
            history=(*self.history, point)[-_REMEMBERED:],
            betas=(*self.betas, beta)[-rules.confirm_checks - 1 :],
        )

    def _counted(self, rules: Rules, measures: Mapping[str, float], limits: Limits) -> Standing:
        """The counters after this check."""
        information, growth = measures["information"], measures.get("growth", math.nan)
        limit = limits.little
        small = information < limit
        shrinking = small and growth < -rules.growth_limit
        dead = information < limits.dead
        promising = growth > rules.growth_limit
        strong = (
            growth < -_STRONG * rules.growth_limit
            and information < _DEEP * limit
            and slope(self.history[-3:]) < _FALLING
        )
        return dataclasses.replace(
            self,
            small=self.small + 1 if small else 0,
            dead=self.dead + 1 if dead else 0,
            silent=self.silent + 1 if dead and not promising else 0,
            shrinking=self.shrinking + (_WEIGHT if strong else 1) if shrinking else 0,
            lived=self.lived or (self.checks > rules.skip_checks and information > 2.0 * limit),
        )

    def _probed(self, rules: Rules, measures: Mapping[str, float]) -> Standing:
        """What this check's probe says of a latent that informs; without one all is held."""
        if "decoder_gap" not in measures or self.small:
            return dataclasses.replace(self, gaps=(), ignored=self.ignored and not self.small)
        probe = (measures["decoder_gap"], measures["decoder_gap_error"])
        gaps = (*self.gaps, probe)[-rules.confirm_checks :]
        gap = sum(gap for gap, _ in gaps) / len(gaps)
        error = math.hypot(*(error for _, error in gaps)) / len(gaps)
        faded = gap < _FADED * measures["information"]
        unseen = gap <= (_SURELY if faded else _USED) * error
        could_be_seen = _USED * error < measures["information"]
        decisive = self.ignored or (len(gaps) >= rules.confirm_checks and could_be_seen)
        return dataclasses.replace(self, gaps=gaps, ignored=unseen and decisive)

    def _candidate(
        self, rules: Rules, measures: Mapping[str, float], limit: float, raised: bool
    ) -> Level:
        """The level that this check alone calls for."""
        few, many = rules.confirm_checks, _STALE * rules.confirm_checks
        recent, long = slope(self.history[-few - 1 :]), slope(self.history[-many:])
        growth = measures.get("growth", math.nan)
        if self.ignored:
            return Level.RED
        resting = max(long, slope(self.history[-many // 2 :])) < _RESTING
        if self.dead > many and resting:
            return self._unless_used(measures)
        if growth > rules.growth_limit or (recent > _RISING and not self.shrinking):
            return Level.OK
        if measures["information"] < _ALMOST * limit:
            fallen = self.lived or measures["information"] < _DEEP * limit
            falling = self.shrinking >= few and recent < _FALLING and fallen
            lasting = self.shrinking >= 2 * few and recent <= _RISING
            silent = self.silent >= 2 * few and max(recent, long) < _RISING
            plunged = self.lived and self.silent >= few and recent < _FALLING
            if falling or lasting or silent or plunged:
                return self._unless_used(measures)
            if self.small >= many and max(recent, long) < _RISING:
                return Level.ORANGE
        return Level.YELLOW if raised else Level.OK

    def _unless_used(self, measures: Mapping[str, float]) -> Level:
        """Red, or orange where the decoder was just seen to use z or beta was just lowered."""
        gap, error = measures.get("decoder_gap", 0.0), measures.get("decoder_gap_error", 0.0)
        known = [beta for beta in self.betas if not math.isnan(beta)]
        eased = bool(known) and known[-1] < max(known)
        return Level.ORANGE if eased or gap > _USED * error > 0.0 else Level.RED

    def _settle(self, rules: Rules, candidate: Level, recovered: bool) -> Standing:
        """Go up at once, and down only after ``recovery_checks`` better checks in a row."""
        if candidate >= self.level:
            return dataclasses.replace(self, level=candidate, calm=0)
        if not recovered:
            return dataclasses.replace(self, calm=0)
        if self.calm + 1 < rules.recovery_checks:
            return dataclasses.replace(self, calm=self.calm + 1)
        return dataclasses.replace(self, level=candidate, calm=0)
