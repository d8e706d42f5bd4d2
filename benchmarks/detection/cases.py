"""What is trained: one frozen value a training, whose hash is the key of its record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

RECORD_VERSION = 3
"""Raise it when a family's code or the record's form changes: every case is trained again."""

SEEDS = (0, 1, 2, 3)
HELD_OUT_SEEDS = (2, 3)
HELD_OUT_FAMILIES = ("tabular", "deep")
"""The rule was calibrated on no case of these families, which were written after it was fixed, and
on no case of these seeds, which were trained after it."""

DEFAULTS: dict[str, Any] = {
    "model": "digits",
    "latents": ("z",),
    "dimensions": 64,
    "units": 8,
    "hidden": 64,
    "batch": 64,
    "accumulate": 1,
    "likelihood": "bernoulli",
    "sigma": 0.3,
    "reduction": "sum",
    "beta": 1.0,
    "beta_after": 1.0,
    "schedule": "constant",
    "ramp": 1000,
    "at": 1000,
    "period": 500,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "precision": "fp32",
    "free_bits": 0.0,
    "free_bits_kind": "unit",
    "offset": 0.0,
    "fixed_variance": 0.0,
    "normalize": 0.0,
    "classifier": 0.0,
    "decoder_sees": "none",
    "prior": "none",
    "word_dropout": 0.0,
    "chain": False,
    "weight_top": 1.0,
    "weight_bottom": 1.0,
    "visits": 8,
    "side": 2,
    "gain": 1.0,
}
"""Every setting that a variant may change; see the families for what each does."""


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        family: what kind of training it is.
        variant: which one of the kind.
        seed: of weights, noise and batches.
        steps: optimiser steps.
        intent: the truth that the variant is meant to have, for the audit alone: the truth is
            measured.
        settings: what differs from ``DEFAULTS``.
    """

    family: str
    variant: str
    seed: int
    steps: int
    intent: str
    settings: tuple[tuple[str, Any], ...]

    def __getitem__(self, name: str) -> Any:
        """A setting, its default where the variant does not change it."""
        return dict(self.settings).get(name, DEFAULTS[name])

    @property
    def name(self) -> str:
        """``family/variant/seed``."""
        return f"{self.family}/{self.variant}/{self.seed}"

    @property
    def key(self) -> str:
        """Hash of the definition."""
        return self._hash({"version": RECORD_VERSION, **asdict(self), "intent": ""})

    @property
    def held_out(self) -> bool:
        """Whether the rule must not be calibrated on it."""
        return self.family in HELD_OUT_FAMILIES or self.seed in HELD_OUT_SEEDS

    @staticmethod
    def _hash(values: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def all_cases() -> list[Case]:
    """Every training of the benchmark, in order."""
    from .variants import VARIANTS  # the table needs this module's names

    return list(_cases(VARIANTS))


def subset() -> list[Case]:
    """Twenty short trainings of many families, for a test of two minutes."""
    from .variants import SUBSET

    return [case for case in all_cases() if f"{case.family}/{case.variant}" in SUBSET][
        :: len(SEEDS)
    ]


def _cases(variants: list[tuple[str, str, str, int, dict[str, Any]]]) -> Iterator[Case]:
    for family, variant, intent, steps, settings in variants:
        unknown = set(settings) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"{family}/{variant}: no such settings: {sorted(unknown)}")
        values = tuple(sorted(settings.items()))
        for seed in SEEDS:
            yield Case(family, variant, seed, steps, intent, values)
