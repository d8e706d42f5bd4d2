"""Families of posteriors beside the diagonal Gaussian, one file each."""

from __future__ import annotations

from ..family import Family
from .bernoulli import Bernoulli
from .categorical import Categorical
from .codebook import Codebook
from .distributions import family_of

__all__ = ["Bernoulli", "Categorical", "Codebook", "Family", "family_of"]
