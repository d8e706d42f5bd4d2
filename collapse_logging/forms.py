"""Where in a module's output a posterior is: said by the user, or known by names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str | int, ...]
"""The way to a part of an output: names of fields and places in tuples, from outside in."""

SPREADS = ("log_variance", "log_scale", "variance", "scale")
"""What may stand beside a mean; of several that an output has the first is read."""

_STEMS = {
    "mean": ("mean", "means", "mu", "loc", "embedding", "m"),
    "log_variance": ("logvariance", "logvar", "logvars", "logcovariance", "logv", "logsigma2"),
    "log_scale": ("logscale", "logstd", "logsigma", "logstddev"),
    "variance": ("variance", "var", "v", "covariance", "sigma2"),
    "scale": ("scale", "std", "sigma", "stddev"),
    "distribution": ("latentdist", "dist", "distribution", "posterior", "q", "qz", "qzx"),
}
_AROUND = ("posterior", "latent", "encoder", "qz", "q", "z")

MEANINGS = {
    before + stem + after: kind
    for kind, stems in _STEMS.items()
    for stem in stems
    for before in ("", *_AROUND)
    for after in ("", *_AROUND)
}
"""By the name of a field, in small letters without underscores, what it is."""
MEANINGS.update({stem: kind for kind, stems in _STEMS.items() for stem in stems})


@dataclass(frozen=True)
class Form:
    """How a posterior is read of an output.

    Attributes:
        kind: one of :data:`SPREADS`; ``"distribution"`` or ``"moments"``: ``mean`` leads to a
            distribution, or to a tensor whose first half is the mean and whose second half is
            ln sigma^2; ``"codes"``, or to a codebook's; ``"unclear"``: a variance or a scale.
        mean: the way to the mean, the distribution or the moments.
        spread: the way to what stands beside the mean.
        axis: of the moments; None: that of the units (channels for 4 axes).
        size: of the codebook.
        alone: whether the output holds nothing else, so that the mean is used outside only.
    """

    kind: str
    mean: Key = ()
    spread: Key = ()
    axis: int | None = None
    size: int = 0
    alone: bool = True


def meaning(field: str) -> str | None:
    """What a field of this name is: ``"mean"``, one of :data:`SPREADS`, or None.

    >>> meaning("log_covariance"), meaning("qz_m"), meaning("prior_mean")
    ('log_variance', 'mean', None)
    """
    return MEANINGS.get(field.lower().replace("_", ""))


def by_names(fields: Iterable[str]) -> Form | None:
    """The form of an output with these fields, if they name a mean and what stands beside it."""
    found: dict[str, str] = {}
    for field in fields:
        found.setdefault(meaning(field) or field, field)
    for kind in SPREADS:
        if "mean" in found and kind in found:
            alone = len(found) == 2
            return Form(kind, (found["mean"],), (found[kind],), alone=alone)
    return None


def split_form(text: str) -> tuple[str, Form | None]:
    """A module path, and the form if one is said after ``as``.

    >>> split_form("encoder as mean, scale")[1]
    Form(kind='scale', mean=(0,), spread=(1,), axis=None, size=0, alone=True)
    >>> split_form("encoder as mean=params.mu, log_scale=params.s")[1].mean
    ('params', 'mu')

    Raises:
        ValueError: what is said is no form.
    """
    path, found, said = text.partition(" as ")
    if not found:
        return text, None
    form = _moments(said) or _codes(said) or _parts(said)
    if form is None:
        raise ValueError(
            f"latents: expected after 'as' the parts of the module's output in their order, with _ "
            f"for others, got {said!r}; write '{path} as mean, log_variance' (or log_scale, "
            f"variance, scale), '{path} as _, mean, scale', '{path} as mean=mu, variance=s' by "
            f"name or place, '{path} as distribution=0', or '{path} as moments' for one tensor "
            f"(on another axis: '{path} as moments on 1'), or '{path} as codes=indices of 512' for "
            "a codebook of that size."
        )
    return path.strip(), form


def _moments(said: str) -> Form | None:
    words = said.split()
    if words == ["moments"]:
        return Form("moments")
    if len(words) == 3 and words[1] == "on" and words[2].lstrip("-").isdigit():
        return Form("moments", axis=int(words[2]))
    return None


def _codes(said: str) -> Form | None:
    part, _, size = said.partition(" of ")
    kind, _, key = (word.strip() for word in part.partition("="))
    if kind != "codes" or not size.strip().isdigit():
        return None
    return Form("codes", _key(key) if key else (), size=int(size))


def _key(text: str) -> Key:
    return tuple(int(part) if part.isdigit() else part for part in text.split("."))


def _parts(said: str) -> Form | None:
    keys: dict[str, Key] = {}
    words = [word.strip() for word in said.split(",")]
    for place, word in enumerate(words):
        kind, _, key = (part.strip() for part in word.partition("="))
        if kind == "_":
            continue
        if kind in keys:
            return None
        bare: Key = () if len(words) == 1 and kind == "distribution" else (place,)
        keys[kind] = _key(key) if key else bare
    if keys.keys() == {"distribution"}:
        return Form("distribution", keys["distribution"])
    for kind in SPREADS:
        if keys.keys() == {"mean", kind}:
            return Form(kind, keys["mean"], keys[kind], alone=len(words) == 2)
    return None
