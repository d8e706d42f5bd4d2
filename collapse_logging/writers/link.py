"""Where to look: TensorBoard's command line, and links to the charts that matter."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from urllib.parse import quote

from ..words import word

_MOST_PINNED = 10
"""More than TensorBoard itself puts into a link, and none fits on a screen."""


def tensorboard_link(latents: Iterable[str], port: int = 6006, prefix: str = "collapse") -> str:
    """The local TensorBoard's address with the level and the first latents' main charts pinned.

    No tag filter: it would hide the pinned charts. No smoothing: a level is a step.

    >>> tensorboard_link(["z"]).startswith("http://localhost:6006/?pinnedCards=")
    True
    """
    tags = [f"{prefix}/level"]
    for name in latents:
        tags += [f"{prefix}/{name}/{measure}" for measure in ("information", "kl", "growth")]
    cards = [{"plugin": "scalars", "tag": tag} for tag in tags[:_MOST_PINNED]]
    pinned = quote(json.dumps(cards, separators=(",", ":")))
    return f"http://localhost:{port}/?pinnedCards={pinned}&smoothing=0#timeseries"


def dashboard_link(port: int = 6006) -> str:
    """The local TensorBoard's address with the dashboard "Posterior collapse" open.

    >>> dashboard_link()
    'http://localhost:6006/#custom_scalars&_smoothingWeight=0'
    """
    return f"http://localhost:{port}/#custom_scalars&_smoothingWeight=0"


def how_to_look(
    log_dir: str, latents: Iterable[str], prefix: str = "collapse", language: str = "en"
) -> str:
    """What to type, and the two links to open, three lines."""
    return word(
        language,
        "how to look",
        folder=shlex.quote(log_dir),
        dashboard=dashboard_link(),
        charts=tensorboard_link(latents, prefix=prefix),
    )
