"""A link that opens TensorBoard with the right charts pinned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote


def tensorboard_link(latents: Iterable[str], port: int = 6006, prefix: str = "collapse") -> str:
    """The local TensorBoard's address with the level and each latent's main charts pinned.

    No tag filter: it would hide the pinned charts. No smoothing: a level is a step.

    >>> tensorboard_link(["z"]).startswith("http://localhost:6006/?pinnedCards=")
    True
    """
    tags = [f"{prefix}/level"]
    for name in latents:
        tags += [f"{prefix}/{name}/{measure}" for measure in ("information", "kl", "growth")]
    cards = [{"plugin": "scalars", "tag": tag} for tag in tags]
    pinned = quote(json.dumps(cards, separators=(",", ":")))
    return f"http://localhost:{port}/?pinnedCards={pinned}&smoothing=0#timeseries"
