"""TensorBoard's Custom Scalars: the dashboard "Posterior collapse", in a sub-run of its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report import Level

Charts = dict[str, list[Any]]
"""``{title: [kind, tags]}``, as ``SummaryWriter.add_custom_scalars`` takes them by category."""

_LEVELS = ", ".join(f"{int(level)} {level.name}" for level in Level)


def layout(latents: Sequence[str], prefix: str = "collapse") -> dict[str, Charts]:
    """Six charts a latent; with several latents, one category each below the worst level.

    At most three tags a chart, because TensorBoard colours lines by run alone. The same layout
    from each run, so that merging them gives it once.
    """
    title = "Posterior collapse" if prefix == "collapse" else f"Posterior collapse ({prefix})"
    if len(latents) == 1:
        charts = _charts(latents[0], prefix)
        return {title: {f"{latents[0]}: {chart}": charts[chart] for chart in charts}}
    worst: Charts = {f"worst level: {_LEVELS}": ["Multiline", _exactly(f"{prefix}/level")]}
    return {title: worst} | {f"{title}: {name}": _charts(name, prefix) for name in latents}


def growth_limits(latent: str, limit: float, prefix: str = "collapse") -> dict[str, float]:
    """The constants between which growth is undecided, by tag.

    Charts do not start at zero by themselves; as a margin these show zero and the limits. They
    are a group of their own, out of the way of the measures.
    """
    tag = f"{prefix}_limits/{latent}/growth"
    return {f"{tag}_lower": -limit, f"{tag}_upper": limit}


def write_dashboard(log_dir: str, latents: Sequence[str], prefix: str = "collapse") -> None:
    """Write the layout into ``<log_dir>/<prefix>/dashboard``, unless it is there already.

    A run has one layout, the last that is written: in the user's own run it would replace
    theirs. TensorBoard merges the layouts of different runs.

    Args:
        log_dir: the run's folder, local or remote, as a ``SummaryWriter`` takes it.
        latents: names, in the order of the charts.
        prefix: first part of every tag.

    Raises:
        ImportError: ``tensorboard`` is not installed.
        OSError: the folder cannot be written to.
    """
    from torch.utils.tensorboard import SummaryWriter

    charts = layout(latents, prefix)
    folder = f"{log_dir.rstrip('/')}/{prefix}/dashboard"
    suffix = "." + hashlib.sha256(json.dumps(charts).encode()).hexdigest()[:12]
    if "://" not in folder and any(Path(folder).glob(f"*tfevents*{suffix}")):
        return  # resumed; a remote folder is not worth a look, twice does no harm
    with SummaryWriter(folder, filename_suffix=suffix) as board:
        board.add_custom_scalars(charts)


def _charts(latent: str, prefix: str) -> Charts:
    """TensorBoard shows margins behind the other charts, and the last of them first."""
    tag = f"{prefix}/{latent}"
    limits = growth_limits(latent, 0.0, prefix)
    return {
        f"level: {_LEVELS}": ["Multiline", _exactly(f"{tag}/level")],
        "information and KL, nats": ["Multiline", _exactly(f"{tag}/information", f"{tag}/kl")],
        "active and informative units": [
            "Multiline",
            _exactly(f"{tag}/active_units", f"{tag}/informative_units"),
        ],
        "variance of means (collapse: 0), p10-p90": ["Margin", _quantiles(f"{tag}/mean_variance")],
        "posterior variance (collapse: 1), p10-p90": [
            "Margin",
            _quantiles(f"{tag}/posterior_variance"),
        ],
        "growth: alive above, dying below the band": ["Margin", [f"{tag}/growth", *limits]],
    }


def _exactly(*tags: str) -> list[str]:
    """Regular expressions for these tags alone: TensorBoard matches beginnings."""
    return [f"^{re.escape(tag)}$" for tag in tags]


def _quantiles(tag: str) -> list[str]:
    return [f"{tag}_p50", f"{tag}_p10", f"{tag}_p90"]
