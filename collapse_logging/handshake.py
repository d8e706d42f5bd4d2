"""How the ranks of a distributed run find out, without a collective, that all of them watch.

A collective that one rank does not join never returns. So each rank leaves its settings in the
store of the default group, waits a bounded time for the others', and the first to decide decides
for all: whoever gives up waiting says "alone", whoever has seen everybody says "together".
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch.distributed as dist

PATIENCE = timedelta(seconds=30)
"""How long a rank waits at its first step for the other ranks' first step."""

_log = logging.getLogger("collapse_logging")


def world() -> tuple[int, int]:
    """This process's rank and how many there are; ``(0, 1)`` without torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def meet(settings: Mapping[str, Any]) -> bool:
    """Whether all ranks watch together; all that ask get the same answer.

    Args:
        settings: plain values that must be the same on all ranks.

    Raises:
        ValueError: on all ranks, if the settings differ.
    """
    rank, ranks = world()
    if ranks == 1:
        return False
    store = dist.distributed_c10d._get_default_store()
    number = store.add(f"collapse_logging/{rank}", 1)  # how many met before this one
    keys = [f"collapse_logging/{number}/{other}" for other in range(ranks)]
    store.set(keys[rank], json.dumps(settings, sort_keys=True))
    try:
        store.wait(keys, PATIENCE)
        said = "together"
    except RuntimeError:  # torch's DistStoreError: not all of them came
        said = "alone"
    if store.compare_set(f"collapse_logging/{number}/all", "", said) == b"alone":
        _log.warning(
            "not all of the %d ranks watched their latents within %d seconds; each judges its own "
            "share of the data. Call step() of one monitor on every rank.",
            ranks,
            PATIENCE.total_seconds(),
        )
        return False
    _require_same([json.loads(store.get(key)) for key in keys])
    return True


def _require_same(settings: list[dict[str, Any]]) -> None:
    for name in settings[0]:
        values = [rank.get(name) for rank in settings]
        if any(value != values[0] for value in values):
            raise ValueError(
                f"{name}: expected the same on all ranks, got {values} by rank; construct the "
                "monitor with the same arguments on every rank, and resume all from one step."
            )
