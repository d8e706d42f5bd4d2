"""Rules: thresholds, and which indicators the measures of one check raise.

Nothing here knows about tensors, trackers or training: :meth:`Rules.indicators` is a pure
function of numbers. What becomes of indicators over time is in ``levels``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .arguments import require_count, require_number, require_one_of
from .messages import INDICATORS
from .report import Indicator, Vector
from .schedule import Frequency, checked_frequency

_RISE = 0.02
"""A reconstruction loss that rises by more than this share over the window, ..."""

_RISE_T = 4.0
"""... with a slope this many standard errors above 0, is rising."""


@dataclass(frozen=True)
class Rules:
    """Thresholds, and the pace at which checks are made.

    The first three are the manual's, with its names and values; the sign of ``var_threshold`` is
    corrected: a collapsed latent has the prior's variance, 1, not a small one.

    Attributes:
        kl_threshold: nats; total KL below it raises ``kl``.
        var_threshold: a mean posterior variance within it of 1 raises ``variance``.
        active_units_threshold: a smaller fraction of active units raises ``active_units``.
        window_size: training steps over which the reconstruction trend is read.
        check_frequency: training steps from one check to the next; or by the step from which
            they hold, ``{0: 100, 1000: 50}``.
        early_stop_patience: red checks in a row before a run may be stopped.
        information_limit: nats; information is small below
            ``max(information_limit, information_per_dimension x dimensions)``.
        information_per_dimension: nats, see above.
        growth_limit: growth below minus this is shrinking, above it coming alive.
        confirm_checks: checks in a row that confirm a collapse.
        skip_checks: first checks that raise nothing.
        recovery_checks: better checks in a row before a level is lowered.
        ignore: indicators that are never raised, by name.
        literal: judge as the manual's code did, reversed variance and all.
    """

    kl_threshold: float = 0.01
    var_threshold: float = 0.1
    active_units_threshold: float = 0.1
    window_size: int = 100
    check_frequency: Frequency = field(default=50, hash=False)
    early_stop_patience: int = 200
    information_limit: float = 0.5
    information_per_dimension: float = 0.005
    growth_limit: float = 2.0
    confirm_checks: int = 3
    skip_checks: int = 2
    recovery_checks: int = 3
    ignore: tuple[str, ...] = ()
    literal: bool = False

    def __post_init__(self) -> None:
        """Check every field; see Raises of :func:`resolve_rules`."""
        for name in _COUNTS:
            count = getattr(self, name)
            require_count(name, count, at_least=0 if name == "skip_checks" else 1)
            object.__setattr__(self, name, int(count))  # NumPy's are no JSON and no size of a deque
        for name in self.ignore:
            require_one_of("ignore", name, INDICATORS)
        for name in _LIMITS:
            limit, most = getattr(self, name), 1.0 if name == "active_units_threshold" else math.inf
            require_number(name, limit, most)
            object.__setattr__(self, name, float(limit))
        object.__setattr__(self, "check_frequency", checked_frequency(self.check_frequency))

    def small_information(self, dimensions: float) -> float:
        """The limit in nats below which a latent of so many dimensions carries too little."""
        return max(self.information_limit, self.information_per_dimension * dimensions)

    def indicators(
        self,
        measures: Mapping[str, float],
        per_unit: Mapping[str, Vector],
        dimensions: float,
        reconstruction_trend: tuple[float, float] | None = None,
        little: float | None = None,
    ) -> tuple[Indicator, ...]:
        """What is on the wrong side of its limit at this check.

        Args:
            measures: a latent's scalars (:func:`collapse_logging.measures.scalars`).
            per_unit: its vectors ``[units]`` (:func:`collapse_logging.measures.per_unit`).
            dimensions: units times positions.
            reconstruction_trend: rise over the window as a share of the loss, and its t value.
            little: nats below which information is small; None: as for a Gaussian.
        """
        little = self.small_information(dimensions) if little is None else little
        if "information" not in measures:
            found = [Indicator("explosion", math.nan, 0.0)]
        elif self.literal and "posterior_variance" in measures:
            found = self._literal_indicators(measures, per_unit)
        else:
            found = self._indicators(measures, little, reconstruction_trend)
            units = len(next(iter(per_unit.values())))
            found += _explosion(measures, per_unit, positions=dimensions / units)
        return tuple(indicator for indicator in found if indicator.name not in self.ignore)

    def _indicators(
        self,
        measures: Mapping[str, float],
        limit: float,
        reconstruction_trend: tuple[float, float] | None,
    ) -> list[Indicator]:
        found = self._information_indicators(measures, limit)
        kl, variance, fraction, usage = (  # NaN, which raises nothing, where there is none
            measures.get(name, math.nan)
            for name in ("kl", "posterior_variance", "active_fraction", "usage")
        )
        rise, t = reconstruction_trend or (0.0, 0.0)
        gap, noise = measures.get("decoder_gap", 0.0), 3.0 * measures.get("decoder_gap_error", -1.0)
        tests = (
            ("kl", kl, self.kl_threshold, kl < self.kl_threshold),
            ("variance", variance, self.var_threshold, abs(variance - 1.0) < self.var_threshold),
            (
                "active_units",
                fraction,
                self.active_units_threshold,
                fraction < self.active_units_threshold,
            ),
            (
                "usage",
                usage,
                self.active_units_threshold,
                usage < self.active_units_threshold,
            ),
            ("reconstruction_trend", rise, _RISE, rise > _RISE and t > _RISE_T),
            ("decoder_ignores_latent", gap, noise, gap <= noise),
        )
        return found + [
            Indicator(name, value, edge) for name, value, edge, raised in tests if raised
        ]

    def _information_indicators(
        self, measures: Mapping[str, float], limit: float
    ) -> list[Indicator]:
        information = measures["information"]
        if information >= limit:
            return []
        found = [Indicator("information", information, limit)]
        if measures.get("growth", 0.0) < -self.growth_limit:
            found.append(Indicator("growth", measures["growth"], -self.growth_limit))
        paid = max(2.0 * limit, 4.0 * information)
        if measures.get("kl", 0.0) > paid:
            found.append(Indicator("mismatch", measures["kl"], paid))
        return found

    def _literal_indicators(
        self, measures: Mapping[str, float], per_unit: Mapping[str, Vector]
    ) -> list[Indicator]:
        variance = measures["posterior_variance"]
        ratio = float((per_unit["posterior_variance"] > self.var_threshold).mean())
        rows = (
            ("kl", measures["kl"], self.kl_threshold),
            ("manual_variance", variance, self.var_threshold),
            ("manual_active_units", ratio, self.active_units_threshold),
        )
        return [Indicator(name, value, limit) for name, value, limit in rows if value < limit]


_COUNTS = (
    "window_size",
    "early_stop_patience",
    "confirm_checks",
    "skip_checks",
    "recovery_checks",
)
_LIMITS = (
    "kl_threshold",
    "var_threshold",
    "active_units_threshold",
    "information_limit",
    "information_per_dimension",
    "growth_limit",
)

PRESETS = {
    "default": Rules(),
    "fast": Rules(
        kl_threshold=0.005,
        var_threshold=0.05,
        active_units_threshold=0.15,
        window_size=50,
        check_frequency=20,
        early_stop_patience=100,
        confirm_checks=8,  # windows of 20 steps are noisy
    ),
    "manual": Rules(literal=True),
}
"""The rules that go by a name; ``fast`` is the manual's configuration for long trainings."""


def overrides(arguments: Mapping[str, object]) -> dict[str, object]:
    """Those of a caller's arguments that override a preset: they have a field's name."""
    names = (one.name for one in dataclasses.fields(Rules))
    return {name: arguments[name] for name in names if name in arguments}


def resolve_rules(rules: str | Rules, overrides: Mapping[str, object]) -> Rules:
    """A preset's name or a :class:`Rules`, with the overrides that are not None.

    Raises:
        ValueError: no preset of that name, or a value out of its range.
        TypeError: a value of the wrong type, or a field that does not exist.
    """
    if isinstance(rules, str):
        require_one_of("rules", rules, PRESETS)
        rules = PRESETS[rules]
    elif not isinstance(rules, Rules):
        raise TypeError(
            f"rules: expected a preset's name {sorted(PRESETS)} or Rules(...), got "
            f"{type(rules).__name__}."
        )
    given = {name: value for name, value in overrides.items() if value is not None}
    return dataclasses.replace(rules, **given)  # type: ignore[arg-type]


def _explosion(
    measures: Mapping[str, float], per_unit: Mapping[str, Vector], positions: float
) -> list[Indicator]:
    kl, variance = (per_unit.get(n, np.zeros(1)) for n in ("kl", "posterior_variance"))
    checks = (
        (float(np.fmax.reduce(kl)) / positions, 100.0),
        (float(np.fmax.reduce(variance)), 10.0),
        (measures.get("nonfinite", 0.0), 0.0),
    )
    return [Indicator("explosion", value, limit) for value, limit in checks if value > limit][:1]
