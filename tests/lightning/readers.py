"""Files of the trackers, read back."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def wandb_records(file: Path) -> Iterator[Any]:
    """The protobuf records of a ``.wandb`` file: a 7-byte header, blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), 7, b""
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
    """The history rows."""
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row}
        for row in (record.history.item for record in records if record.HasField("history"))
    ]


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSVLogger's ``metrics.csv``."""
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))
