"""``check``: the words, the exit codes, the table, the JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_logging.cli import main
from collapse_logging.terminal import columns
from tests.recorded import collapsed, healthy


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed; nothing may have gone to stderr."""
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out.splitlines()


@pytest.mark.parametrize(
    ("run", "code", "word"),
    [
        ("a_collapsed", 1, "COLLAPSED"),
        ("b_at_risk", 0, "AT RISK"),
        ("c_healthy", 0, "HEALTHY"),
        ("d_begun", 2, "CANNOT TELL"),
        ("e_events", 1, "COLLAPSED"),
        ("a_collapsed/collapse_ledger.jsonl", 1, "COLLAPSED"),
    ],
)
def test_one_run_is_told_in_full(
    sweep: Path, run: str, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The word and the run come first, and the exit code is that of the word."""
    assert main(["check", str(sweep / run)]) == code
    assert lines(capsys)[0] == f"{word}: sweep/{run}"


def test_a_collapse_is_told_with_its_reasons(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Since when, what is on the wrong side of its limit, when it was healthy, what to do."""
    main(["check", str(sweep / "a_collapsed")])
    found = lines(capsys)
    assert found[1] == "step 60, 12 checks, 3 alerts, read from its ledger"
    assert "  z: 🔴 RED since step 35" in found
    (reason,) = (line for line in found if line.startswith("    information "))
    assert "below 0.5 nats: the latent carries almost nothing about the data" in reason
    assert "last healthy step: 20" in found
    assert found[-1].startswith("what to do: stop and restart")


def test_event_files_have_values_for_reasons(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a ledger the limits are not known, the measures are."""
    main(["check", str(sweep / "e_events")])
    found = lines(capsys)
    assert "read from its event files" in found[1]
    assert "  z: 🔴 RED since step 35" in found
    assert any(line.startswith("    information 0.000") for line in found)


def test_a_sweep_is_one_table_the_worst_first(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a run in the order of the verdicts, in columns, none wider than a terminal."""
    assert main(["check", str(sweep)]) == 1
    header, *rows = lines(capsys)
    rows, notes = rows[:5], rows[6:]
    assert header.split() == ["verdict", "level", "step", "information", "latents", "run"]
    assert [row.split()[-1] for row in rows] == [
        "a_collapsed",
        "e_events",
        "b_at_risk",
        "d_begun",
        "c_healthy",
    ]
    starts = {columns(row[: row.index(row.split()[-1])]) for row in rows}
    assert starts == {header.index("run")}
    assert max(map(len, (header, *rows, *notes))) <= 80
    assert notes == [
        "5 runs: 2 collapsed, 1 at risk, 1 cannot tell, 1 healthy.",
        "d_begun: no check has been written yet, or none that can be read",
    ]


@pytest.mark.parametrize(
    ("runs", "arguments", "code"),
    [
        (["c_healthy", "b_at_risk"], [], 0),
        (["c_healthy", "b_at_risk"], ["--fail-on", "orange"], 1),
        (["c_healthy", "d_begun"], [], 2),
        (["c_healthy", "missing"], [], 2),
        (["d_begun", "a_collapsed"], [], 1),
        (["c_healthy"], ["--fail-on", "yellow"], 0),
    ],
)
def test_several_paths_have_the_worst_code(
    sweep: Path,
    runs: list[str],
    arguments: list[str],
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """1 if one failed, else 2 if one cannot be told; a missing one does not hide the others."""
    assert main(["check", *(str(sweep / run) for run in runs), *arguments]) == code
    if len(runs) > 1:
        found = lines(capsys)
        assert {row.split()[-1] for row in found[1:3]} == {f"sweep/{run}" for run in runs}


def test_json_says_it_all(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object: the worst verdict, the exit code, and each run with its latents."""
    code = main(["check", str(sweep), "--json"])
    found = json.loads("\n".join(lines(capsys)), parse_constant=pytest.fail)
    assert set(found) == {"exit_code", "verdict", "runs"}
    assert (found["exit_code"], found["verdict"]) == (code, "collapsed") == (1, "collapsed")
    runs = {run["run"]: run for run in found["runs"]}
    assert {tuple(run) for run in runs.values()} == {
        (
            *("run", "path", "source", "detector", "verdict", "why", "level", "step", "checks"),
            *("last_healthy_step", "latents", "advice", "damaged_lines"),
        )
    }
    dead = runs["a_collapsed"]
    assert (dead["source"], dead["level"], dead["step"], dead["checks"]) == (
        "ledger",
        "RED",
        60,
        12,
    )
    z = dead["latents"]["z"]
    assert (z["level"], z["since_step"]) == ("RED", 35)
    assert z["measures"]["information"] < 0.01
    assert any("information" in reason for reason in z["reasons"])
    assert runs["c_healthy"]["latents"]["z"]["reasons"] == []
    begun = runs["d_begun"]
    assert (begun["verdict"], begun["level"], begun["latents"]) == ("cannot tell", None, {})
    assert (runs["e_events"]["source"], runs["e_events"]["detector"]) == ("event files", "collapse")


def test_json_is_json_when_there_is_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that reads stdout gets an object there too."""
    assert main(["check", str(tmp_path / "missing"), "--json"]) == 2
    (run,) = json.loads("\n".join(lines(capsys)))["runs"]
    assert (run["verdict"], run["why"]) == ("cannot tell", "there is no such file or folder.")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such file or folder."),
        (lambda path: path.mkdir(), "no ledger, event files or .wandb file of a detector found"),
        (lambda path: path.write_text("x"), "expected a run folder, a collapse_ledger.jsonl"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, make: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, with the path, and exit code 2."""
    path = tmp_path / "run"
    assert callable(make)
    make(path)
    assert main(["check", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"collapse-logging check: {path}: ")
    assert message in line


def test_names_from_outside_are_shown_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A latent's or folder's name with control characters does not reach the terminal."""
    collapsed(tmp_path / "a\x1b[31m", latents=("z\n\x1b[2J", "中文", *"abcdef"))
    healthy(tmp_path / "中文")
    assert main(["check", str(tmp_path)]) == 1
    assert main(["check", str(tmp_path / "a\x1b[31m")]) == 1
    found = lines(capsys)
    assert "\x1b" not in "".join(found)
    assert any(line.endswith("  a [31m") for line in found)
    assert any(line.endswith("  中文") for line in found)


def test_a_pipe_gets_plain_lines(sweep: Path) -> None:
    """No colour codes, nothing wrapped, whatever the terminal is said to be."""
    long = sweep / ("long_" * 30)
    healthy(long)
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "collapse_logging", "check", str(sweep)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "\x1b" not in done.stdout
    assert f"  {long.name}\n" in done.stdout


def test_a_reader_that_leaves_is_no_error(sweep: Path) -> None:
    """``check ... | head`` ends in silence."""
    code = (
        "import os, sys; from collapse_logging.cli import main\n"
        "r, w = os.pipe(); os.close(r); os.dup2(w, 1)\n"
        f"sys.exit(main(['check', {str(sweep)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=120)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_ledger_needs_the_core_only(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without TensorBoard, event files cannot be told, with a hint; everything else can."""
    for name in ("rich", "matplotlib", "tensorboard.backend.event_processing.event_accumulator"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["check", str(sweep)]) == 1
    found = lines(capsys)
    assert any(line.startswith("collapsed") and line.endswith("a_collapsed") for line in found)
    (hint,) = (line for line in found if line.startswith("e_events: "))
    assert "pip install 'collapse-logging[tensorboard]'" in hint
