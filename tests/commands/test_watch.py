"""``check --watch`` on runs that go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from collapse_logging.cli import main
from collapse_logging.writers.ledger import LEDGER_NAME
from tests.recorded import collapsed

from .terminal import on_a_terminal

COMMAND = [sys.executable, "-m", "collapse_logging", "check", "--watch", "--interval", "0.1"]


def grow(source: Path, target: Path) -> None:
    """Write a run's ledger line by line, each in two halves."""
    target.parent.mkdir(parents=True)
    with target.open("ab", buffering=0) as file:
        for line in source.read_bytes().splitlines(keepends=True):
            file.write(line[:40])
            time.sleep(0.05)
            file.write(line[40:])
            time.sleep(0.15)


def test_a_growing_ledger_is_followed_until_it_collapses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there yet is waited for; each change is a line; red ends it with 1."""
    collapsed(tmp_path / "source")
    run = tmp_path / "run"
    arguments = (tmp_path / "source" / LEDGER_NAME, run / LEDGER_NAME)
    training = threading.Thread(target=grow, args=arguments)
    training.start()
    watching = ["check", str(run), "--watch", "--interval", "0.1", "--fail-fast"]
    code = main([*watching, "--timeout", "60"])
    training.join()
    assert code == 1
    printed = capsys.readouterr()
    words = [line[10:21].strip() for line in printed.out.splitlines()]
    assert words[0] == "cannot tell"
    assert words[-1] == "collapsed"
    assert words == sorted(set(words), key=words.index)
    assert len(words) >= 3
    assert printed.err == ""


@pytest.mark.parametrize("seconds", ["0", "0.3"])
def test_it_ends_after_the_timeout(
    sweep: Path, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of the last look, and one line a run since nothing changed."""
    watching = ["check", str(sweep), "--watch", "--timeout", seconds, "--interval", "0"]
    assert main(watching) == 1
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_ctrl_c_ends_it_in_silence(sweep: Path) -> None:
    """The exit code is that of the last look; there is no traceback."""
    code = (
        "import signal, sys; from collapse_logging.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have it ignored\n"
        f"sys.exit(main({['check', '--watch', str(sweep / 'c_healthy')]!r}))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as watching:
        try:
            assert watching.stdout is not None
            assert "healthy" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert (watching.returncode, errors) == (0, "")


def test_a_terminal_gets_a_table_that_fits(sweep: Path) -> None:
    """On 60 columns rich shows each run on one line, in colour, and names are cut at the left."""
    pytest.importorskip("rich")
    long = sweep / ("long_" * 20) / "the_end"
    collapsed(long)
    watching = ("check", "--watch", "--interval", "0.1", str(sweep), "--timeout", "0.2")
    code, shown = on_a_terminal(*watching, width=60)
    assert code == 1
    assert "\x1b[" in shown
    row = next(line for line in shown.splitlines() if "the_end" in line)
    assert "…" in row
    assert "collapsed" in row
    assert "Ctrl-C to end" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--watch", "--json"], "--json and --watch: expected one of the two"),
        (["--watch", "--interval", "-1"], "--interval: expected a number from 0"),
        (["--watch", "--timeout", "-1"], "--timeout: expected a number from 0"),
        (["--timeout", "3"], "expected together with --watch"),
        (["--fail-fast"], "expected together with --watch"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    sweep: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, before anything is watched."""
    assert main(["check", str(sweep), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
