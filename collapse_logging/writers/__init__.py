"""Writers: where reports go. Each is imported when it is asked for, its tracker when it is used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..arguments import checked_list
from ..on_demand import on_demand
from .background import BackgroundWriter
from .base import Writer
from .detection_log import DetectionLogWriter
from .ledger import LedgerWriter
from .log import LogWriter

if TYPE_CHECKING:
    from .lightning import LoggerWriter as LoggerWriter
    from .memory import MemoryWriter as MemoryWriter
    from .mlflow import MlflowWriter as MlflowWriter
    from .tensorboard import TensorBoardWriter as TensorBoardWriter
    from .trackio import TrackioWriter as TrackioWriter
    from .wandb import WandbWriter as WandbWriter

__all__ = [
    "DetectionLogWriter",
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

__getattr__ = on_demand(
    __name__,
    {
        "LoggerWriter": "lightning",
        "MemoryWriter": "memory",
        "MlflowWriter": "mlflow",
        "TensorBoardWriter": "tensorboard",
        "TrackioWriter": "trackio",
        "WandbWriter": "wandb",
    },
)


def __dir__() -> list[str]:
    """The public names, also those that were not asked for yet."""
    return __all__


def complete(
    given: Sequence[Writer], log_dir: str | os.PathLike[str] | None, verbose: bool
) -> list[Writer]:
    """The writers given, with ledger and detection log where there is a folder, and a log writer.

    Those that may be called in a thread of their own are given one.

    Raises:
        TypeError: ``given`` is no list of writers.
    """
    checked_list(given, "writers", lambda writer: isinstance(writer, Writer))
    writers, kinds = list(given), {type(writer) for writer in given}
    boards = _boards(given)
    folder = log_dir or next((_beside(b) for b in boards if "://" not in str(b.log_dir)), None)
    if folder is not None:
        files = (LedgerWriter, DetectionLogWriter)
        writers = [kind(folder) for kind in files if kind not in kinds] + writers
    if verbose and LogWriter not in kinds:
        writers.extend(LogWriter(log_dir=b.log_dir, prefix=b.prefix) for b in boards[:1])
        if not boards:
            writers.append(LogWriter())
    return [BackgroundWriter(w) if w.in_background else w for w in writers]


def _boards(given: Sequence[Writer]) -> list[TensorBoardWriter]:
    """Those that write files for TensorBoard into a folder that is known."""
    if not given:
        return []
    from .tensorboard import TensorBoardWriter

    return [w for w in given if isinstance(w, TensorBoardWriter) and w.log_dir]


def _beside(board: TensorBoardWriter) -> str:
    """Where two monitors write to one run, each has files of its own."""
    folder = str(board.log_dir)
    return folder if board.prefix == "collapse" else os.path.join(folder, board.prefix)
