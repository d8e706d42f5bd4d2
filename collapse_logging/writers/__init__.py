"""Writers: where reports go. Each imports its tracker only when it is used."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..arguments import checked_list
from .background import BackgroundWriter
from .base import Writer
from .ledger import LedgerWriter
from .lightning import LoggerWriter
from .log import LogWriter
from .memory import MemoryWriter
from .mlflow import MlflowWriter
from .tensorboard import TensorBoardWriter
from .trackio import TrackioWriter
from .wandb import WandbWriter

__all__ = [
    "LedgerWriter",
    "LogWriter",
    "LoggerWriter",
    "MemoryWriter",
    "MlflowWriter",
    "TensorBoardWriter",
    "TrackioWriter",
    "WandbWriter",
    "Writer",
    "complete",
]


def complete(
    given: Sequence[Writer], log_dir: str | os.PathLike[str] | None, verbose: bool
) -> list[Writer]:
    """The writers given, with a ledger where there is a folder for it, and a log writer.

    Those that may be called in a thread of their own are given one.

    Raises:
        TypeError: ``given`` is no list of writers.
    """
    checked_list(given, "writers", lambda writer: isinstance(writer, Writer))
    writers, kinds = list(given), {type(writer) for writer in given}
    boards = [w for w in given if isinstance(w, TensorBoardWriter) and w.log_dir]
    folders = (w.log_dir for w in boards)
    folder = log_dir or next((f for f in folders if f and "://" not in f), None)
    if folder is not None and LedgerWriter not in kinds:
        writers.insert(0, LedgerWriter(folder))
    if verbose and LogWriter not in kinds:
        writers.extend(LogWriter(log_dir=b.log_dir, prefix=b.prefix) for b in boards[:1])
        if not boards:
            writers.append(LogWriter())
    return [BackgroundWriter(w) if w.in_background else w for w in writers]
