"""An offline ``.wandb`` file, finished or still being written."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .find import WANDB
from .recording import Columns, Recording
from .scalars import prefixes, recording_of

_HEADER, _BLOCK, _CHUNK = 7, 32_768, 7
_FULL, _FIRST, _LAST = 1, 2, 4
_STEPS = ("trainer/global_step", "_step")


def read_wandb(path: Path) -> list[Recording]:
    """A recording for each detector that wrote to the run.

    Where the run has rows of the user's own, each shows the newest check before it; the ledger
    has them all.

    Raises:
        ModuleNotFoundError: ``wandb`` is not installed.
    """
    rows: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    for record in records(path.read_bytes()):
        if record.HasField("history"):
            rows.append(_plain(record.history.item))
        for changed in (record.config, record.run.config):
            config.update(_plain(changed.update))
    names = prefixes({tag for row in rows for tag in row})
    return [_recording(path, name, rows, config.get(name)) for name in names]


def records(data: bytes) -> Iterator[Any]:
    """The protobuf records of a ``.wandb`` file, up to where it is cut off or damaged.

    The format is that of LevelDB's log: a header of 7 bytes, blocks of 32 KiB, in them chunks with
    checksum, length, kind (whole, first, middle, last) and payload. wandb has no reader for it
    that all its versions share.

    Raises:
        ModuleNotFoundError: ``wandb`` is not installed.
    """
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError as error:
        raise ModuleNotFoundError(
            ".wandb files are read with the package wandb, which is not installed; "
            "pip install 'collapse-logging[wandb]'."
        ) from error
    for payload in _payloads(data):
        record = Record()
        try:
            record.ParseFromString(payload)
        except DecodeError:
            return
        yield record


def _payloads(data: bytes) -> Iterator[bytes]:
    place, parts = _HEADER, b""
    while place + _CHUNK <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _CHUNK:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        chunk = data[place + _CHUNK : place + _CHUNK + length]
        if len(chunk) < length:
            return
        parts = chunk if kind in (_FULL, _FIRST) else parts + chunk
        place += _CHUNK + length
        if kind in (_FULL, _LAST):
            yield parts


def _plain(items: Any) -> dict[str, Any]:
    """Keys and values; what is nested under its joined key, what is not JSON left out."""
    found = {}
    for item in items:
        try:
            found["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        except ValueError:
            continue
    return found


def _recording(path: Path, name: str, rows: list[dict[str, Any]], settings: Any) -> Recording:
    columns = Columns()
    for row in rows:
        step = next((row[key] for key in (f"{name}/step", *_STEPS) if key in row), None)
        values = {
            tag.removeprefix(f"{name}/"): v
            for tag, v in row.items()
            if tag[: len(name) + 1] == f"{name}/"
        }
        numbers = {tag: float(v) for tag, v in values.items() if isinstance(v, (int, float))}
        if step is None or "level" not in numbers:
            continue
        numbers.pop("step", None)
        columns.cut(step)
        columns.add(step, {tag: v for tag, v in numbers.items() if math.isfinite(v)})
    settings = settings if isinstance(settings, dict) else {}
    return recording_of(path, WANDB, name, columns.series({}), settings)
