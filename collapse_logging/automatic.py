"""A detector in any Lightning training, by ``COLLAPSE_LOGGING=1`` alone.

Lightning calls :func:`callbacks` whenever a Trainer is made, through the entry points in
``setup.cfg``; so this module imports nothing until it is asked for something.
"""

from __future__ import annotations

import os
import typing
from pathlib import Path
from typing import Any

VARIABLE = "COLLAPSE_LOGGING"
"""``1``, or a YAML file with the arguments of the callback; unset, empty or ``0``: nothing."""

_OFF = ("", "0", "false", "no", "off")
_ON = ("1", "true", "yes", "on")


def callbacks() -> list[Any]:
    """What the environment asks for, to be added to a Trainer: a detector, or nothing.

    Raises:
        ValueError: the variable is neither a switch nor a file with a detector's arguments.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if said.lower() in _OFF:
        return []
    from .attach import Attach

    return [Attach({} if said.lower() in _ON else _arguments(said))]


def _arguments(said: str) -> dict[str, Any]:
    """The file's content, checked against the callback's arguments, objects in it made."""
    path = Path(said).expanduser()
    if not path.is_file():
        raise ValueError(
            f"{VARIABLE}: expected 1, 0 or a YAML file with the arguments of "
            f"PosteriorCollapseDetector, got {said!r}, which is no file in {Path.cwd()}; write "
            f"{VARIABLE}=1 for the defaults."
        )
    try:
        from jsonargparse import ArgumentParser
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{VARIABLE}={said} needs jsonargparse to read the file and it is not installed; "
            "pip install 'collapse-logging[lightning]', or write "
            f"{VARIABLE}=1 for the defaults."
        ) from None
    from .lightning import PosteriorCollapseDetector

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PosteriorCollapseDetector)
    try:
        # its name before jsonargparse 4.49 is the second
        make = getattr(parser, "instantiate", None) or parser.instantiate_classes
        made = make(parser.parse_path(path))
    except Exception as error:  # what its readers and the classes in it may raise
        raise ValueError(
            f"{VARIABLE}: expected in {said} the arguments of PosteriorCollapseDetector, e.g. "
            f"'latents: encoder', got one that cannot be read: {error}"
        ) from None
    return typing.cast("dict[str, Any]", made.as_dict())
