"""Families of posteriors beside the diagonal Gaussian, one file each; imported when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..family import Family
from ..on_demand import on_demand

if TYPE_CHECKING:
    from .bernoulli import Bernoulli as Bernoulli
    from .categorical import Categorical as Categorical
    from .codebook import Codebook as Codebook
    from .distributions import family_of as family_of

__all__ = ["Bernoulli", "Categorical", "Codebook", "Family", "family_of"]

__getattr__ = on_demand(
    __name__,
    {
        "Bernoulli": "bernoulli",
        "Categorical": "categorical",
        "Codebook": "codebook",
        "family_of": "distributions",
    },
)


def __dir__() -> list[str]:
    """The public names, also those that were not asked for yet."""
    return __all__
