"""TensorBoard's Custom Scalars: the dashboard "Posterior collapse", in a sub-run of its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..report import Level
from ..words import word

Charts = dict[str, list[Any]]
"""``{title: [kind, tags]}``, as ``SummaryWriter.add_custom_scalars`` takes them by category."""


def layout(
    latents: Sequence[str],
    prefix: str = "collapse",
    language: str = "en",
    measures: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Charts]:
    """Six charts a latent; with several latents, one category each below the worst level.

    At most three tags a chart, because TensorBoard colours lines by run alone. The same layout
    from each run, so that merging them gives it once.

    Args:
        latents: names, in the order of the charts.
        prefix: first part of every tag.
        language: of the titles.
        measures: what each has; charts of others are left out. None, or no entry: a Gaussian's.
    """
    known = measures or {}
    say = partial(word, language)
    title = say("dashboard" if prefix == "collapse" else "dashboard of", prefix=prefix)
    if len(latents) == 1:
        charts = _charts(latents[0], prefix, language, known.get(latents[0]))
        name = latents[0]
        return {
            title: {say("chart of", latent=name, chart=chart): charts[chart] for chart in charts}
        }
    title_of_worst = say("dashboard worst", levels=_levels(language))
    worst: Charts = {title_of_worst: ["Multiline", _exactly(f"{prefix}/level")]}
    return {title: worst} | {
        say("dashboard latent", title=title, latent=name): _charts(
            name, prefix, language, known.get(name)
        )
        for name in latents
    }


def growth_limits(latent: str, limit: float, prefix: str = "collapse") -> dict[str, float]:
    """The constants between which growth is undecided, by tag.

    Charts do not start at zero by themselves; as a margin these show zero and the limits. They
    are a group of their own, out of the way of the measures.
    """
    tag = f"{prefix}_limits/{latent}/growth"
    return {f"{tag}_lower": -limit, f"{tag}_upper": limit}


def write_dashboard(
    log_dir: str,
    latents: Mapping[str, Collection[str]],
    prefix: str = "collapse",
    language: str = "en",
) -> None:
    """Write the layout into ``<log_dir>/<prefix>/dashboard``, unless it is there already.

    A run has one layout, the last that is written: in the user's own run it would replace
    theirs. TensorBoard merges the layouts of different runs.

    Args:
        log_dir: the run's folder, local or remote, as a ``SummaryWriter`` takes it.
        latents: names, in the order of the charts, and the measures of each.
        prefix: first part of every tag.
        language: of the titles.

    Raises:
        ImportError: ``tensorboard`` is not installed.
        OSError: the folder cannot be written to.
    """
    from torch.utils.tensorboard import SummaryWriter

    charts = layout(list(latents), prefix, language, latents)
    folder = f"{log_dir.rstrip('/')}/{prefix}/dashboard"
    suffix = "." + hashlib.sha256(json.dumps(charts).encode()).hexdigest()[:12]
    if "://" not in folder and any(Path(folder).glob(f"*tfevents*{suffix}")):
        return  # resumed; a remote folder is not worth a look, twice does no harm
    with SummaryWriter(folder, filename_suffix=suffix) as board:
        board.add_custom_scalars(charts)


_GAUSSIAN = ("active_units", "mean_variance", "posterior_variance")


def _charts(
    latent: str, prefix: str, language: str, measures: Collection[str] | None = None
) -> Charts:
    """TensorBoard shows margins behind the other charts, and the last of them first."""
    tag = f"{prefix}/{latent}"
    limits = growth_limits(latent, 0.0, prefix)
    say = partial(word, language)
    has = _GAUSSIAN if measures is None or "posterior_variance" in measures else measures
    units = [f"{tag}/active_units"] if "active_units" in has else []
    charts: Charts = {
        say("chart level", levels=_levels(language)): ["Multiline", _exactly(f"{tag}/level")],
        say("chart information"): ["Multiline", _exactly(f"{tag}/information", f"{tag}/kl")],
        say("chart units"): ["Multiline", _exactly(*units, f"{tag}/informative_units")],
    }
    if "perplexity" in has:
        charts[say("chart perplexity")] = ["Multiline", _exactly(f"{tag}/perplexity")]
    if "usage" in has:
        charts[say("chart usage")] = ["Multiline", _exactly(f"{tag}/usage")]
    if "mean_variance" in has:
        charts[say("chart means")] = ["Margin", _quantiles(f"{tag}/mean_variance")]
        charts[say("chart posterior")] = ["Margin", _quantiles(f"{tag}/posterior_variance")]
    charts[say("chart growth")] = ["Margin", [f"{tag}/growth", *limits]]
    return charts


def _levels(language: str) -> str:
    names = (f"{int(level)} {word(language, level.name)}" for level in Level)
    return word(language, "list").join(names)


def _exactly(*tags: str) -> list[str]:
    """Regular expressions for these tags alone: TensorBoard matches beginnings."""
    return [f"^{re.escape(tag)}$" for tag in tags]


def _quantiles(tag: str) -> list[str]:
    return [f"{tag}_p50", f"{tag}_p10", f"{tag}_p90"]
