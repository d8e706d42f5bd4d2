"""Files that are whole or absent, in a folder where others may put links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
"""Windows has no such flag, and lets few people make links."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one go: after a kill the old or the new one is there, never a part.

    Args:
        path: the file; a link in its place is replaced and not followed.
        content: all of it.

    Raises:
        OSError: it could not be written; what was there before is as it was.
    """

    def save(part: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS | getattr(os, "O_BINARY", 0)
        with open(part, "wb", opener=lambda name, _: os.open(name, flags, 0o666)) as file:
            file.write(content)

    save_whole(path, save)


def save_whole(path: Path, save: Callable[[Path], object]) -> None:
    """Let ``save`` write beside the file, then put what it wrote into the file's place.

    Args:
        path: the file; a link in its place is replaced and not followed.
        save: writes to the path that it is given, a file or a folder.

    Raises:
        OSError: it could not be written; what was there before is as it was.
    """
    part = part_of(path)
    if not part.is_dir():  # other ranks may write into a folder already
        part.unlink(missing_ok=True)  # of a run that was killed, or a link
    try:
        save(part)
        _to_disk(part)
        move(part, path)
    finally:
        remove(part)


def part_of(path: Path) -> Path:
    """Where a file is written before it is put into its place."""
    return path.with_name(f".{path.name}.part")


def remove(path: Path) -> None:
    """Remove a file, or a folder, as sharded checkpoints are; a link, and not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename within a folder, on the disk when it returns."""
    os.replace(source, target)
    _to_disk(target.parent)


def without_links(path: str, flags: int) -> int:
    """An opener that refuses a link, for ``open(..., opener=without_links)``.

    Raises:
        OSError: the path is a link, or cannot be opened.
    """
    return os.open(path, flags | _NO_LINKS, 0o666)


def _to_disk(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk; Windows opens no folders."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
