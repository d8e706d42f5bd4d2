"""What a check sends: copies to the host, and collectives on two gloo ranks of this machine."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from collapse_logging import CollapseMonitor
from collapse_logging.transfer import DirectTransfer
from collapse_logging.writers import MemoryWriter

from .counts import EVERY_STEP
from .training import Size, Training
from .watchers import Ours

RANKS = 2
COLLECTIVES = ("all_reduce", "all_gather", "all_gather_object", "broadcast", "barrier", "gather")


def sent(tell: Callable[[str], None], checks: int = 10) -> dict[str, int]:
    """How often one of the ranks started what, over so many checks.

    Returns:
        ``checks``, ``copies`` to the host, and each collective by its name.
    """
    tell(f"what {RANKS} ranks send")
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_rank, (checks, folder), RANKS)
        counted: dict[str, int] = json.loads(Path(folder, "counted.json").read_text())
    return counted


def _rank(rank: int, checks: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    counted: Counter[str] = Counter()
    for name in COLLECTIVES:
        setattr(dist, name, _counting(counted, name, getattr(dist, name)))
    DirectTransfer.send = _counting(counted, "copies", DirectTransfer.send)  # type: ignore[method-assign]
    memory = MemoryWriter()
    monitor = CollapseMonitor([memory], check_frequency=5, verbose=False, **EVERY_STEP)
    watcher = Ours(monitor)
    Training(Size(batch=8, units=4, latents=2, hidden=8)).block(watcher, 5 * checks)
    if rank == 0:
        kept = json.dumps({"checks": len(memory.reports), **counted})
        Path(folder, "counted.json").write_text(kept)
    watcher.close()
    dist.destroy_process_group()


def _counting(counted: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*given: Any, **named: Any) -> Any:
        counted[name] += 1
        return call(*given, **named)

    return counting
