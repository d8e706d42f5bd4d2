"""Files are whole or absent whenever the process is killed, and no link leads out of the folder."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_logging import files
from collapse_logging.files import save_whole, without_links, write_whole

KILLED_AT = """
import os, runpy, signal, sys
from pathlib import Path
write_whole = runpy.run_path(sys.argv[3])["write_whole"]  # without torch: a hundred times faster

calls = int(sys.argv[2])

def counted(call):
    def run(*arguments, **options):
        global calls
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return run

for name in ("open", "fsync", "replace", "close", "unlink", "stat", "lstat"):
    setattr(os, name, counted(getattr(os, name)))
write_whole(Path(sys.argv[1]), b"new" * 1000)
os.write(1, b"done")
"""


@pytest.mark.parametrize("before", [None, b"old" * 1000])
def test_a_file_is_whole_or_absent_wherever_the_kill_falls(
    tmp_path: Path, before: bytes | None
) -> None:
    """Killed at its first, second, ... system call, it leaves the old file or the new one."""
    file, found = tmp_path / "page.html", set()
    for call in range(1, 100):
        file.unlink(missing_ok=True) if before is None else file.write_bytes(before)
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(file), str(call), files.__file__],
            capture_output=True,
            timeout=60,
        )
        found.add(file.read_bytes() if file.exists() else None)
        if done.stdout == b"done":
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert call > 5
    assert found == {before, b"new" * 1000}


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    """The half file of a killed run is gone once the file is written again."""
    (tmp_path / ".page.html.part").write_bytes(b"half")
    write_whole(tmp_path / "page.html", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """The error is the caller's to see; nothing half written is left."""
    file = tmp_path / "model.ckpt"
    write_whole(file, b"old")

    def save(part: Path) -> None:
        part.write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_whole(file, save)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("name", ["page.html", ".page.html.part"])
def test_a_link_is_replaced_and_not_followed(tmp_path: Path, name: str) -> None:
    """Whoever may make links in the folder cannot have a file elsewhere overwritten."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(theirs)
    write_whole(folder / "page.html", b"ours")
    assert theirs.read_bytes() == b"precious"
    assert (folder / "page.html").read_bytes() == b"ours"
    assert not (folder / "page.html").is_symlink()


def test_a_link_is_not_opened(tmp_path: Path) -> None:
    """What is appended to is opened through an opener that refuses a link."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic link"):
        without_links(str(tmp_path / "link"), os.O_WRONLY)
    with open(theirs, "ab", opener=without_links) as file:
        file.write(b"!")
    assert theirs.read_bytes() == b"precious!"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_users_umask(tmp_path: Path, umask: int) -> None:
    """Neither wider nor narrower than the user wants their files."""
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "page.html", b"")
        open(tmp_path / "ledger", "ab", opener=without_links).close()
    finally:
        os.umask(before)
    for name in ("page.html", "ledger"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
