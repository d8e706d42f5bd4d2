"""The ledger: every report, on the disk, whatever happens to the run."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import resource
from pathlib import Path

import numpy as np
import pytest

from collapse_logging import Level, Report
from collapse_logging.report import LatentReport
from collapse_logging.writers import LedgerWriter
from collapse_logging.writers.ledger import LEDGER_NAME, read_ledger

from .conftest import drive, killed_after_red


def test_every_report_is_a_line_behind_the_settings(tmp_path: Path, reports: list[Report]) -> None:
    """The thresholds come first, then one line a report that says what the report says."""
    drive([LedgerWriter(tmp_path)])
    first, *lines = read_ledger(tmp_path / LEDGER_NAME)
    assert first["type"] == "settings"
    assert first["check_frequency"] == 5
    for line, report in zip(lines, reports, strict=True):
        assert line == {"type": "report", **report.to_dict()}
    assert sum(len(line["alerts"]) for line in lines) == 3
    assert len(lines[-1]["latents"]["z"]["per_unit"]["information"]) == 6


def test_each_line_is_strict_json(tmp_path: Path) -> None:
    """NaN and infinity, which JSON does not know, are null."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    latent = LatentReport(
        Level.OK, {"kl": math.inf, "information": math.nan}, {"kl": np.array([np.nan, 1.0])}
    )
    writer = LedgerWriter(tmp_path)
    writer.write(Report(1, 0, Level.OK, {"z": latent}))
    writer.close()
    lines = (tmp_path / LEDGER_NAME).read_text().splitlines()
    found = json.loads(lines[-1], parse_constant=refuse)["latents"]["z"]
    assert found["measures"] == {"kl": None, "information": None}
    assert found["per_unit"] == {"kl": [None, 1.0]}


def test_a_second_session_appends(tmp_path: Path, reports: list[Report]) -> None:
    """What an earlier session wrote stays, and each session starts with its settings."""
    drive([LedgerWriter(tmp_path)])
    drive([LedgerWriter(tmp_path)])
    kinds = [line["type"] for line in read_ledger(tmp_path / LEDGER_NAME)]
    assert kinds == 2 * (["settings"] + ["report"] * len(reports))


@pytest.mark.parametrize("half", ['{"type":"report","st', '{"latent":"\u00e4'])
def test_a_line_cut_off_by_a_kill_is_skipped(
    tmp_path: Path, reports: list[Report], half: str
) -> None:
    """Half a last line is left out by the reader, and a second session is not glued to it."""
    path = tmp_path / LEDGER_NAME
    drive([LedgerWriter(tmp_path)])
    with path.open("ab") as file:
        file.write(half.encode()[:-1])
    assert len(list(read_ledger(path))) == len(reports) + 1
    drive([LedgerWriter(tmp_path)])
    assert len(list(read_ledger(path))) == 2 * (len(reports) + 1)


def test_half_a_line_is_put_aside(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is thrown away: it is in a file beside the ledger, and that is said."""
    (tmp_path / LEDGER_NAME).write_text('{"type":"settings"}\n{"type":"rep')
    for half in ('{"type":"rep', '{"ty'):
        with (tmp_path / LEDGER_NAME).open("a") as file:
            file.write("" if half == '{"type":"rep' else half)
        drive([LedgerWriter(tmp_path)])
    assert (tmp_path / f"{LEDGER_NAME}.bad").read_text() == '{"type":"rep\n{"ty\n'
    told = [message for message in caplog.messages if "half a line" in message]
    assert len(told) == 2
    assert len(list(read_ledger(tmp_path / LEDGER_NAME))) == 1 + 2 * (len(reports) + 1)


@pytest.mark.parametrize("place", ["ledger", "bad"])
def test_a_link_in_the_folder_is_not_followed(
    tmp_path: Path, reports: list[Report], place: str
) -> None:
    """A link in the ledger's place is an error, and one in the place of what is put aside too."""
    theirs = tmp_path / "theirs"
    theirs.write_text("precious\n")
    writer = LedgerWriter(tmp_path / "run")
    writer.path.parent.mkdir()
    if place == "ledger":
        writer.path.symlink_to(theirs)
        with pytest.raises(OSError, match="symbolic link"):
            writer.write(reports[0])
    else:
        writer.path.write_text("half")
        Path(f"{writer.path}.bad").symlink_to(theirs)
        writer.write(reports[0])
    writer.close()
    assert theirs.read_text() == "precious\n"


def test_a_second_run_in_the_same_ledger_is_warned_of(
    tmp_path: Path, reports: list[Report], caplog: pytest.LogCaptureFixture
) -> None:
    """Two monitors with one log folder mix their checks; one after the other is a resume."""
    first, second, third = (LedgerWriter(tmp_path) for _ in range(3))
    first.write(reports[0])
    first.close()
    second.write(reports[1])
    assert caplog.messages == []
    third.write(reports[2])
    assert "another run is writing to this collapse_ledger.jsonl" in caplog.text
    second.close()
    third.close()


def test_a_write_that_fails_midway_leaves_no_half_line(
    tmp_path: Path, reports: list[Report]
) -> None:
    """Disk full in the midst of a line: what is written later is not glued to it."""
    writer = LedgerWriter(tmp_path)
    writer.write(reports[0])
    most = writer.path.stat().st_size + 100
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.write(reports[1])
        assert writer.path.stat().st_size == most
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.write(reports[2])
    writer.close()
    kinds = [line.get("step", line["type"]) for line in read_ledger(writer.path)]
    assert kinds == ["settings", reports[0].step, "settings", reports[2].step]


def test_a_file_of_half_a_line_only_is_started_anew(tmp_path: Path, reports: list[Report]) -> None:
    """A session killed within its first line leaves nothing that the next one stumbles over."""
    (tmp_path / LEDGER_NAME).write_text("x" * 100_000)
    drive([LedgerWriter(tmp_path)])
    assert len(list(read_ledger(tmp_path / LEDGER_NAME))) == len(reports) + 1


def test_a_damaged_line_is_said_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A line in the middle that is not JSON costs that line and a warning."""
    path = tmp_path / LEDGER_NAME
    path.write_text('{"step":1}\n\x00\x00\n{"step":2}\n')
    with caplog.at_level(logging.WARNING, "collapse_logging"):
        assert [line["step"] for line in read_ledger(path)] == [1, 2]
    assert "line 2 is damaged" in caplog.text


def test_nothing_is_made_before_the_first_report(tmp_path: Path) -> None:
    """A run without a check leaves no file and no folder, and close may come twice."""
    writer = LedgerWriter(tmp_path / "new")
    writer.open({})
    writer.close()
    writer.close()
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_removed_is_made_again(tmp_path: Path, reports: list[Report]) -> None:
    """Reports after the removal are on the disk, behind settings of their own."""
    writer = LedgerWriter(tmp_path)
    writer.open({"kl_threshold": 0.01})
    writer.write(reports[0])
    writer.path.unlink()
    writer.write(reports[1])
    writer.close()
    settings, line = read_ledger(writer.path)
    assert settings == {"type": "settings", "kl_threshold": 0.01}
    assert line["step"] == reports[1].step


def test_any_name_of_a_latent_is_kept(tmp_path: Path, reports: list[Report]) -> None:
    """Newlines, quotes and letters of all scripts come back as they were."""
    name = 'a\n"b" \u00e4\u2028\u4e2d'
    report = dataclasses.replace(reports[0], latents={name: reports[0].latents["z"]})
    writer = LedgerWriter(tmp_path)
    writer.write(report)
    writer.close()
    assert list(list(read_ledger(writer.path))[-1]["latents"]) == [name]


def test_an_alert_survives_a_kill(tmp_path: Path) -> None:
    """After SIGKILL right behind the red report all lines are whole, the last one red."""
    killed_after_red(f"LedgerWriter({str(tmp_path)!r})")
    lines = list(read_ledger(tmp_path / LEDGER_NAME))
    assert lines[0]["type"] == "settings"
    assert lines[-1]["level"] == "RED"
    assert lines[-1]["alerts"][-1]["level"] == "RED"
