"""A command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys


def on_a_terminal(*arguments: str, width: int) -> tuple[int, str]:
    """The exit code of ``collapse_logging ...``, and all that it wrote to the terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "LINES": "40", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "collapse_logging", *arguments]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(command, env=environment, **streams) as process:  # type: ignore[call-overload]
        os.close(theirs)
        screen = b""
        try:
            while chunk := os.read(ours, 65536):
                screen += chunk
        except OSError:  # the other end was closed
            pass
        code = process.wait(60)
    os.close(ours)
    return code, screen.decode()


def lines_of(screen: str) -> list[str]:
    """What was written, line by line, without control sequences."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]
