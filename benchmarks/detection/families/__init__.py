"""The trainings, by the kind of model."""

from __future__ import annotations

from ..cases import Case
from .base import HeldOut, Posteriors, Run, Step
from .digits import Digits
from .hierarchy import Hierarchy, Late
from .linear import Linear
from .sets import Sets
from .spatial import Spatial
from .tabular import Deep, Tabular
from .text import Text

MODELS: dict[str, type[Run]] = {
    "deep": Deep,
    "digits": Digits,
    "hierarchy": Hierarchy,
    "hierarchy_late": Late,
    "linear": Linear,
    "sets": Sets,
    "spatial": Spatial,
    "tabular": Tabular,
    "text": Text,
}


def build(case: Case) -> Run:
    """The training that a case defines."""
    return MODELS[case["model"]](case)


__all__ = ["HeldOut", "Posteriors", "Run", "Step", "build"]
