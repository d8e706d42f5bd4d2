"""Runs that the commands are pointed at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.recorded import at_risk, collapsed, events_only, healthy
from tests.writers.conftest import reports as reports


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep: collapsed, at risk, healthy, one without a check, one with an event file only."""
    folder = tmp_path_factory.mktemp("made")
    collapsed(folder / "a_collapsed")
    at_risk(folder / "b_at_risk")
    healthy(folder / "c_healthy")
    (folder / "d_begun").mkdir()
    (folder / "d_begun" / "collapse_ledger.jsonl").write_text('{"type":"settings"}\n')
    events_only(folder / "e_events")
    return folder


@pytest.fixture
def sweep(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, named ``sweep``, in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "sweep")
    return Path("sweep")
