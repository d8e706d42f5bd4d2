"""Below how many nats a latent carries little, and as good as nothing."""

from __future__ import annotations

from typing import NamedTuple

from .rules import Rules
from .taken import Taken

DEAD = 0.2
"""Information below this share of its limit is as good as none."""


class Limits(NamedTuple):
    """Nats of a latent.

    Attributes:
        little: information below it is small.
        dead: below it there is as good as none.
    """

    little: float
    dead: float


def usual_limits(rules: Rules, dimensions: float) -> Limits:
    """Of a Gaussian latent of so many dimensions."""
    little = rules.small_information(dimensions)
    return Limits(little, DEAD * little)


def limits_of(rules: Rules, taken: Taken) -> Limits:
    """Of a latent, by its kind and size; less is needed where less can be carried."""
    usual = usual_limits(rules, taken.dimensions)
    if taken.family is None:
        return usual
    little = taken.family.little(usual.little, taken.capacity)
    return Limits(little, taken.family.dead * little)
