"""What TensorBoard is shown at a check, handed over as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Histogram
from .information_map import palette, png

_LARGEST = float(np.finfo(np.float32).max)
"""Event files hold 32 bits; what is larger would become inf."""


@dataclass(frozen=True)
class Shown:
    """Everything of one step, by tag.

    Attributes:
        scalars: numbers; those that 32 bits cannot hold are left out.
        histograms: counts and edges.
        pictures: indices into :func:`palette`, ``[height, width]``.
        texts: markdown.
    """

    scalars: Mapping[str, float]
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def show(writer: Any, shown: Shown, step: int) -> None:
    """Hand everything to a ``SummaryWriter``, in one record if it is torch's.

    A record each costs the training ten times as much, and a queue of ten, torch's default, would
    make it wait for a slow file system.
    """
    if _is_torchs(writer):
        writer._get_file_writer().add_summary(_summary(shown), step)
        return
    for tag, text in shown.texts.items():
        writer.add_text(tag, text, step)
    for tag, value in shown.scalars.items():
        if abs(value) <= _LARGEST:
            writer.add_scalar(tag, value, step)
    for tag, histogram in shown.histograms.items():
        writer.add_histogram_raw(tag, global_step=step, **_moments(histogram))
    for tag, pixels in shown.pictures.items():
        writer.add_image(tag, palette()[pixels], step, dataformats="HWC")


def _summary(shown: Shown) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard.summary import histogram_raw, text

    summary = Summary()
    for tag, value in shown.scalars.items():
        if abs(value) <= _LARGEST:
            summary.value.add(tag=tag, simple_value=value)
    for tag, histogram in shown.histograms.items():
        summary.MergeFrom(histogram_raw(tag, **_moments(histogram)))  # type: ignore[no-untyped-call]
    # add_image takes three bytes a pixel and 40 ms; a palette takes one byte and 1 ms
    for tag, pixels in shown.pictures.items():
        height, width = pixels.shape
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=png(pixels)
        )
        summary.value.add(tag=tag, image=image)
    for tag, markdown in shown.texts.items():
        summary.MergeFrom(text(tag, markdown))  # type: ignore[no-untyped-call]
    return summary


def _moments(histogram: Histogram) -> dict[str, Any]:
    """What ``add_histogram_raw`` wants to know of ready bins."""
    counts, edges = histogram
    centres = (edges[:-1] + edges[1:]) / 2.0
    return {
        "min": float(edges[0]),
        "max": float(edges[-1]),
        "num": int(counts.sum()),
        "sum": float((counts * centres).sum()),
        "sum_squares": float((counts * np.square(centres)).sum()),
        "bucket_limits": edges[1:].tolist(),
        "bucket_counts": counts.tolist(),
    }


def _is_torchs(writer: Any) -> bool:
    """Whether a Summary can be handed over whole; tensorboardX has a Summary of its own."""
    return any(kind.__module__.startswith("torch.utils.tensorboard") for kind in type(writer).mro())
