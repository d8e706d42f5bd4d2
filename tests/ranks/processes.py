"""Runs a function on several ranks; a hang becomes a failure."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

context = multiprocessing.get_context("forkserver")
"""Children are forked from a server that has imported torch and Lightning once."""

context.set_forkserver_preload(["pytorch_lightning", "tests.lightning.parts", "tests.parts"])


def on_ranks(
    target: Callable[..., Any], ranks: int, folder: Path, *given: Any, seconds: float = 90
) -> list[Any]:
    """What ``target(rank, *given)`` returns on each rank, with what our logger said there.

    A rank that was killed gives None. One that raised gives the exception's text.

    Raises:
        AssertionError: some rank has not ended in time; all are killed.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    folder = folder / f"ranks-{time.monotonic_ns()}"
    folder.mkdir()
    processes = [
        context.Process(target=_run, args=(target, rank, ranks, store.port, folder, given))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    late = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
        process.join()
    assert not late, f"ranks {late} were still running after {seconds} seconds"
    files = [folder / str(rank) for rank in range(ranks)]
    return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]


class _Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _run(
    target: Callable[..., Any], rank: int, ranks: int, port: int, folder: Path, given: Any
) -> None:
    torch.set_num_threads(1)
    told = _Told()
    logging.getLogger("collapse_logging").addHandler(told)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=30)
    )
    try:
        result = target(rank, *given)
    except Exception:
        result = traceback.format_exc()
    part = folder / f"{rank}.part"
    part.write_bytes(pickle.dumps((result, told.messages)))
    part.replace(folder / str(rank))
    dist.destroy_process_group()
