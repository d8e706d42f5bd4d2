"""A running TensorBoard with each of its two loaders, and questions to it over HTTP."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tensorboard import program

PATIENCE = 60


@contextlib.contextmanager
def served_fast(root: Path) -> Iterator[str]:
    """The data server, which only the command line starts; yields the address."""
    log = root.parent / f"{root.name}.log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(root)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", "0", "--load_fast", "true"], stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := [w for w in log.read_text().split() if w.startswith("http://local")]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[0].rstrip("/")
    finally:
        process.terminate()
        process.wait(20)


def served_slow(root: Path) -> str:
    """The loader in Python, served by a daemon thread of this process; returns the address."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(root), "--port", "0", "--load_fast", "false"])
    return board.launch().rstrip("/")


def ask(address: str, route: str, ready: Callable[[Any], bool], **parameters: str) -> Any:
    """A plugin's answer, once it is ready: TensorBoard loads in the background."""
    words = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    url = f"{address}/data/plugin/{route}?{words}"
    deadline, last = time.monotonic() + PATIENCE, "no answer"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)
            if ready(found):
                return found
            last = str(found)[:500]
        except urllib.error.HTTPError as error:  # the tag is not loaded yet
            last = str(error)
            error.close()
        time.sleep(0.05)
    raise AssertionError(f"{url}: {last}")


def get(address: str, route: str, tag: str, points: int) -> list[Any]:
    """A plugin's points of a tag of the run called ``run``, once there are so many."""
    return list(ask(address, route, lambda found: len(found) >= points, run="run", tag=tag))
