"""Files of the trackers, read back."""

from __future__ import annotations

import contextlib
import csv
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def events(folder: Path) -> EventAccumulator:
    """Everything in a folder's event files."""
    accumulator = EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0}
    )
    return accumulator.Reload()


def text(accumulator: EventAccumulator, tag: str) -> str:
    """The newest text of a tag."""
    newest = accumulator.Tensors(f"{tag}/text_summary")[-1]
    return newest.tensor_proto.string_val[0].decode()


def wandb_records(file: Path) -> list[Any]:
    """The protobuf records of a finished run's ``.wandb`` file.

    wandb's core process may still be writing when ``finish()`` returns: wait for its last record.
    """
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(DecodeError):
            records = list(_records(file.read_bytes()))
            if any(record.HasField("exit") for record in records):
                return records
        time.sleep(0.1)
    raise AssertionError(f"{file.name} has no exit record")


def _records(data: bytes) -> Iterator[Any]:
    """A 7-byte header, then blocks of 32 KiB of chunks: crc, length, kind, payload."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, parts = 7, b""
    while place + 7 <= len(data):
        left = 32_768 - place % 32_768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            yield record
        if kind in (0, 1, 4):
            parts = b""


def wandb_rows(records: list[Any]) -> list[dict[str, Any]]:
    """The history rows; a nested value (a histogram) under its first key."""
    rows = []
    for items in (record.history.item for record in records if record.HasField("history")):
        row: dict[str, Any] = {}
        for item in items:
            first, *rest = list(item.nested_key) or [item.key]
            value = json.loads(item.value_json)
            row.update({first: {**row.get(first, {}), rest[0]: value} if rest else value})
        rows.append(row)
    return rows


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSVLogger's ``metrics.csv``."""
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))
