"""Where records are, and which of several is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collapse_logging.reading import find, recordings
from collapse_logging.reading.find import walk
from tests.recorded import healthy


def make(root: Path, *files: str) -> None:
    """Empty files of these names."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def found(root: Path, find: Callable[[Path], list[Any]] = find) -> list[str]:
    """What is found, relative to the folder."""
    return [str(source.path.relative_to(root)) for source in find(root)]


EVENTS = "events.out.tfevents.1.host"


def test_a_ledger_stands_for_the_trackers_files_of_its_run(tmp_path: Path) -> None:
    """Beside it (the monitor), one folder above it (Lightning), and W&B's."""
    make(tmp_path, "plain/collapse_ledger.jsonl", f"plain/{EVENTS}")
    make(tmp_path, f"version_0/{EVENTS}", "version_0/collapse/collapse_ledger.jsonl")
    make(tmp_path, "wandb/offline-run-1/run-1.wandb", "plain/wandb/run-2/run-2.wandb")
    assert found(tmp_path) == [
        "plain/collapse_ledger.jsonl",
        "version_0/collapse/collapse_ledger.jsonl",
    ]
    assert len(found(tmp_path, walk)) == 6


def test_what_has_no_ledger_is_read_from_the_trackers_files(tmp_path: Path) -> None:
    """A run beside one with a ledger, and a run above folders that have both."""
    make(tmp_path, "a/collapse_ledger.jsonl", f"a/{EVENTS}", f"b/{EVENTS}", EVENTS)
    make(tmp_path, "b/wandb/offline-run-1/run-1.wandb")
    assert found(tmp_path) == [
        ".",
        "a/collapse_ledger.jsonl",
        "b",
        "b/wandb/offline-run-1/run-1.wandb",
    ]


def test_hidden_folders_and_links_are_not_entered(tmp_path: Path) -> None:
    """Neither a cache nor W&B's latest-run counts a run twice."""
    make(tmp_path, "a/collapse_ledger.jsonl", ".cache/collapse_ledger.jsonl")
    (tmp_path / "latest").symlink_to(tmp_path / "a")
    assert found(tmp_path) == ["a/collapse_ledger.jsonl"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("collapse_ledger.jsonl", "ledger"),
        ("copy.jsonl", "ledger"),
        (EVENTS, "event files"),
        ("run-1.wandb", "W&B file"),
    ],
)
def test_a_file_is_taken_by_its_name(tmp_path: Path, name: str, kind: str) -> None:
    """A ledger may have been renamed."""
    make(tmp_path, name)
    (source,) = find(tmp_path / name)
    assert (source.kind, source.path) == (kind, tmp_path / name)


def test_other_files_and_none_are_refused(tmp_path: Path) -> None:
    """The error says what was expected."""
    make(tmp_path, "notes.txt")
    with pytest.raises(ValueError, match="expected a run folder, a collapse_ledger.jsonl"):
        find(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="no such file or folder"):
        find(tmp_path / "missing")


def test_one_unreadable_run_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be listed and a ledger that cannot be opened are said, each alone."""
    healthy(tmp_path / "good")
    make(tmp_path, "locked/x")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "collapse_ledger.jsonl").symlink_to(tmp_path / "nothing")
    real = os.scandir

    def scandir(path: str) -> Any:  # root, who runs CI, may list every folder
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = {r.path.relative_to(tmp_path).parts[0]: r for r in recordings(tmp_path)}
    assert found["good"].report is not None
    assert "Permission denied" in found["locked"].problem
    assert "No such file" in found["gone"].problem
