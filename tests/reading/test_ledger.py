"""Ledgers read as a stream: all of it, or only what a verdict needs."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from collapse_logging import Report
from collapse_logging.reading.ledger import Follower, read_ledger, without_units
from collapse_logging.reading.recording import DRAWN
from collapse_logging.writers import LedgerWriter
from collapse_logging.writers.ledger import LEDGER_NAME
from tests.recorded import collapsed, healthy, long_ledger

BOTH = pytest.mark.parametrize("series", [False, True])


@BOTH
def test_the_newest_report_and_all_alerts_come_back(tmp_path: Path, series: bool) -> None:
    """What was written is what is read, with and without the series."""
    reports = collapsed(tmp_path)
    found = read_ledger(tmp_path / LEDGER_NAME, series)
    assert found.report is not None
    assert found.report.to_dict() == reports[-1].to_dict()
    assert found.alerts == tuple(alert for report in reports for alert in report.alerts)
    assert found.settings["check_frequency"] == 5
    assert (found.damaged, found.problem) == (0, "")
    assert (found.series is not None) == series


def test_the_series_hold_every_check(tmp_path: Path) -> None:
    """Each drawn measure of each check is in the series, and each unit's information."""
    reports = collapsed(tmp_path, latents=("a", "b/c"))
    series = read_ledger(tmp_path / LEDGER_NAME, series=True).series
    assert series is not None
    assert series.steps.tolist() == [report.step for report in reports]
    for name in ("a", "b/c"):
        latents = [report.latents[name] for report in reports]
        levels = series.scalars[f"{name}/level"]
        assert levels.tolist() == [latent.level for latent in latents]
        for measure in set(DRAWN) - {"level"}:
            expected = [latent.measures.get(measure, math.nan) for latent in latents]
            np.testing.assert_array_equal(series.scalars[f"{name}/{measure}"], expected)
        units = np.array([latent.per_unit["information"] for latent in latents])
        np.testing.assert_allclose(series.units[name].values, units, rtol=1e-4)
    losses = [report.measures["reconstruction_loss"] for report in reports]
    assert series.scalars["reconstruction_loss"].tolist() == losses


def followed(path: Path, follower: Follower) -> None:
    """What a follower says is what a reader from the start says."""
    assert repr(follower.read(path)) == repr(read_ledger(path))


def test_a_follower_reads_what_is_new(tmp_path: Path) -> None:
    """A ledger that grows by whole and half lines is the same as one that is read at once."""
    collapsed(tmp_path / "run")
    content = (tmp_path / "run" / LEDGER_NAME).read_bytes()
    path, follower = tmp_path / LEDGER_NAME, Follower()
    for end in range(0, len(content) + 997, 997):
        with path.open("ab") as file:
            file.write(content[end - 997 : end] if end else b"")
        followed(path, follower)
    with path.open("r+b") as file:
        file.write(b"x" * 100)  # read long ago, and not looked at again
    assert read_ledger(path).damaged == 1
    assert follower.read(path).damaged == 0


@pytest.mark.parametrize("how", ["replaced", "cut", "removed", "resumed", "damaged"])
def test_a_follower_sees_another_file(tmp_path: Path, how: str) -> None:
    """A file that is replaced or cut is read anew; a resumed run replaces what it repeats."""
    path, follower = tmp_path / LEDGER_NAME, Follower()
    collapsed(tmp_path)
    followed(path, follower)
    if how == "replaced":
        healthy(tmp_path / "other")
        (tmp_path / "other" / LEDGER_NAME).rename(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "removed":
        path.unlink()
        with pytest.raises(FileNotFoundError):
            follower.read(path)
        healthy(tmp_path)
    elif how == "resumed":
        healthy(tmp_path)
    else:
        with path.open("ab") as file:
            file.write(b'{"type":"report","alerts":[]}\n')
    followed(path, follower)
    collapsed(tmp_path)
    followed(path, follower)


@BOTH
def test_a_latent_may_have_any_name(tmp_path: Path, series: bool) -> None:
    """Names that look like the ledger's own keys cost nothing."""
    names = ("per_unit", '"per_unit":{', '"alerts":[]', "}", "")
    report = collapsed(tmp_path / "run")[-1]
    latent = report.latents["z"]
    writer = LedgerWriter(tmp_path)
    for step in range(3):
        latents = dict.fromkeys(names, latent)
        writer.write(dataclasses.replace(report, step=step, latents=latents))
    writer.close()
    found = read_ledger(tmp_path / LEDGER_NAME, series)
    assert found.report is not None
    assert tuple(found.report.latents) == names
    assert (found.report.step, found.damaged) == (2, 0)


def test_vectors_are_taken_out_before_decoding(tmp_path: Path) -> None:
    """The shortened line says the same but for the vectors."""
    collapsed(tmp_path, latents=("a", "b"))
    line = (tmp_path / LEDGER_NAME).read_bytes().splitlines()[1]
    whole, short = json.loads(line), json.loads(without_units(line))
    for latent in whole["latents"].values():
        assert latent["per_unit"]["information"]
        latent["per_unit"] = {}
    assert short == whole


@BOTH
@pytest.mark.parametrize("half", [b'{"type":"report","step":65', b"\xc3", b"{"])
def test_a_line_that_is_being_written_is_left_out(
    tmp_path: Path, half: bytes, series: bool
) -> None:
    """The newest whole line counts, and the half one is no damage."""
    reports = healthy(tmp_path)
    with (tmp_path / LEDGER_NAME).open("ab") as file:
        file.write(half)
    found = read_ledger(tmp_path / LEDGER_NAME, series)
    assert found.report is not None
    assert (found.report.step, found.damaged) == (reports[-1].step, 0)


DAMAGED = [
    b"\x00" * 40,
    b"[]",
    b"7",
    b'{"type":"report"}',
    b'{"type":"report","step":9,"alerts":[]}',
    b'{"type":"report","step":9,"broken',
    b'{"type":"report","level":"OK","latents":5,"alerts":[],"measures":{},"step":3}',
    b'{"type":"report","step":"x","alerts":[],"measures":{},"latents":{}}',
    b"[" * 100_000,
]


@BOTH
@pytest.mark.parametrize("line", DAMAGED)
@pytest.mark.parametrize("place", [1, 3, 5])
def test_a_damaged_line_is_counted(tmp_path: Path, line: bytes, series: bool, place: int) -> None:
    """Wherever it stands, one line is lost and no more, and it is said."""
    reports = healthy(tmp_path)
    path = tmp_path / LEDGER_NAME
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:place], line, *lines[place:], b""]))
    found = read_ledger(path, series)
    assert found.report is not None
    assert found.report.to_dict() == reports[-1].to_dict()
    if series or place == 5:
        assert found.damaged == 1


@BOTH
def test_nothing_but_damage_is_no_report(tmp_path: Path, series: bool) -> None:
    """Neither an empty file nor one of other lines has a report."""
    path = tmp_path / LEDGER_NAME
    for content, damaged in ((b"", 0), (b'{"type":"settings"}\n', 0), (b"\n\n", 2), (b"x\n", 1)):
        path.write_bytes(content)
        found = read_ledger(path, series)
        assert (found.report, found.alerts, found.damaged) == (None, (), damaged)


@BOTH
def test_a_resumed_run_replaces_what_it_repeats(tmp_path: Path, series: bool) -> None:
    """A session that begins again at an earlier step takes the place of what was there."""
    collapsed(tmp_path)
    reports = healthy(tmp_path)
    found = read_ledger(tmp_path / LEDGER_NAME, series)
    assert found.report is not None
    assert found.report.to_dict() == reports[-1].to_dict()
    assert found.alerts == ()
    if found.series is not None:
        assert found.series.steps.tolist() == [report.step for report in reports]
        assert found.series.units["z"].steps.tolist() == [report.step for report in reports]


def test_null_is_not_a_number(tmp_path: Path) -> None:
    """A measure, a unit or a limit that was not finite is NaN."""
    report = collapsed(tmp_path / "run")[-1]
    latent = report.latents["z"]
    measures = {**latent.measures, "information": math.nan}
    indicators = (dataclasses.replace(latent.indicators[0], value=math.inf),)
    vectors = {"information": np.array([math.nan, 1.0])}
    changed = dataclasses.replace(
        latent, measures=measures, per_unit=vectors, indicators=indicators
    )
    writer = LedgerWriter(tmp_path)
    writer.write(dataclasses.replace(report, latents={"z": changed}))
    writer.close()
    found = read_ledger(tmp_path / LEDGER_NAME, series=True)
    assert found.report is not None
    assert found.series is not None
    z = found.report.latents["z"]
    assert math.isnan(z.measures["information"])
    assert math.isnan(z.indicators[0].value)
    assert np.isnan(z.per_unit["information"]).tolist() == [True, False]
    assert np.isnan(found.series.scalars["z/information"]).all()


def test_a_long_run_keeps_some_rows_of_units_and_all_scalars(
    tmp_path: Path, reports: list[Report]
) -> None:
    """Of 5,000 checks all have scalars, and at least 400 evenly spaced ones have units."""
    series = read_ledger(long_ledger(tmp_path, reports, 5000), series=True).series
    assert series is not None
    assert len(series.steps) == 5000
    steps = series.units["z"].steps
    assert 400 <= len(steps) <= 801
    assert len(set(np.diff(steps))) == 1
    assert steps[0] == series.steps[0]


def test_units_of_another_number_are_left_out(tmp_path: Path) -> None:
    """After a change of the model only the rows of the newest size are kept."""
    report = healthy(tmp_path / "run")[-1]
    latent, writer = report.latents["z"], LedgerWriter(tmp_path)
    for step, units in ((1, 3), (2, 3), (3, 5)):
        vectors = {"information": np.ones(units)}
        latents = {"z": dataclasses.replace(latent, per_unit=vectors)}
        writer.write(dataclasses.replace(report, step=step, latents=latents))
    writer.close()
    series = read_ledger(tmp_path / LEDGER_NAME, series=True).series
    assert series is not None
    assert series.units["z"].values.shape == (1, 5)
    assert series.units["z"].steps.tolist() == [3]
