"""The detection log and the final statistics, as the manual has them."""

import re
from pathlib import Path

import pytest

from collapse_logging import Alert, CollapseMonitor, Level, Report
from collapse_logging.report import alert_to_dict
from collapse_logging.responses import KeepLastHealthy
from collapse_logging.writers import DetectionLogWriter, LedgerWriter, TensorBoardWriter
from collapse_logging.writers.final_statistics import Tally
from tests.parts import healthy_then_collapsing, warnings_in

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (INFO|WARNING|ERROR) - (.*)$")


def monitor_in(folder, **settings):
    """A monitor that checks every second step and says nothing on the terminal."""
    keep = KeepLastHealthy(lambda p: Path(p).write_text("model"), folder, every=1, verbose=False)
    settings = {"language": "en", "check_frequency": 2, "strict": True, **settings}
    return CollapseMonitor((), [keep], log_dir=folder, verbose=False, **settings)


def log_of(folder):
    """The one detection log, line by line."""
    (path,) = folder.glob("collapse_detection_*.log")
    assert re.fullmatch(r"collapse_detection_\d{8}_\d{6}\.log", path.name)
    return path.read_text(encoding="utf-8").splitlines()


def statistics_of(folder):
    """Names and values of the final statistics."""
    lines = (folder / "final_statistics.txt").read_text(encoding="utf-8").splitlines()
    pairs = (re.split(r": ?|：", line, maxsplit=1) for line in lines if re.search("[:：]", line))
    return dict(pairs)


def test_the_log_has_the_manuals_form(tmp_path, caplog):
    """Time, severity, step, sign, values and limits; the terminal has nothing of it."""
    with monitor_in(tmp_path) as monitor:
        healthy_then_collapsing(monitor, 10, 40)
    lines = log_of(tmp_path)
    heads = [match.groups() for line in lines if (match := LINE.match(line))]
    assert all(LINE.match(line) or line.startswith("  - ") for line in lines)
    told = [text for severity, text in heads if severity != "INFO"]
    assert [text.split(" ", 1)[0] for text in told] == ["🟡", "🔴"]
    red = next(i for i, line in enumerate(lines) if " - ERROR - 🔴 Step " in line)
    assert lines[red].endswith("posterior collapse: z YELLOW -> RED")
    assert re.match(r"  - information 0\.\d+, below 0\.5 nats: ", lines[red + 1])
    assert "  - last healthy checkpoint: model_before_collapse_step_10.ckpt" in lines
    checks = [text for severity, text in heads if severity == "INFO"]
    assert len(checks) == 25 + 1
    assert checks[0].startswith("step 2 🟢 OK")
    assert checks[-1].startswith("🔴 verdict at step 50: RED")
    assert warnings_in(caplog) == []


def test_the_statistics_have_what_the_manual_promises(tmp_path):
    """Checks, warnings, collapse and its step, the log file, the parameters, and our own files."""
    with monitor_in(tmp_path, kl_threshold=0.005, early_stop_patience=100) as monitor:
        healthy_then_collapsing(monitor, 10, 40)
    found = statistics_of(tmp_path)
    (log,) = tmp_path.glob("*.log")
    assert found["checks"] == "25"
    assert found["warnings"] == "2 (🟡 1, 🟠 0, 🔴 1)"
    assert found["collapse found"] == "yes"
    at = int(found["collapse at step"])
    assert f"step_{at}.ckpt" in str(list(tmp_path.glob("model_at_alarm_*")))
    assert found["last healthy step"] == "10"
    assert found["levels at the end"] == "z 🔴 RED"
    assert found["model from before the collapse"] == "model_before_collapse_step_10.ckpt"
    assert found["log file"] == log.name
    assert (tmp_path / found["full record"]).exists()
    assert found["KL threshold"] == "0.005"
    assert found["check frequency"] == "2"
    assert found["early stop patience"] == "100"


def test_a_healthy_run_has_found_nothing(tmp_path):
    """No step and no model of a collapse are named."""
    with monitor_in(tmp_path) as monitor:
        healthy_then_collapsing(monitor, 20, 0)
    found = statistics_of(tmp_path)
    assert (found["collapse found"], found["warnings"]) == ("no", "0 (🟡 0, 🟠 0, 🔴 0)")
    assert not {"collapse at step", "model from before the collapse"} & found.keys()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_they_are_written_whatever_ends_the_run(tmp_path, error):
    """An exception, Ctrl-C, an exit: statistics up to there, whole."""

    def run():
        with monitor_in(tmp_path) as monitor:
            healthy_then_collapsing(monitor, 7, 0)
            raise error

    with pytest.raises(error):
        run()
    found = statistics_of(tmp_path)
    assert (found["checks"], found["last step checked"]) == ("4", "7")
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_they_speak_chinese(tmp_path):
    """Log and statistics in the manual's own words."""
    with monitor_in(tmp_path, language="zh") as monitor:
        healthy_then_collapsing(monitor, 10, 40)
    assert any(
        re.search(r" - ERROR - 🔴 第 \d+ 步：后验塌缩：z ", line) for line in log_of(tmp_path)
    )
    found = statistics_of(tmp_path)
    assert found["总检查次数"] == "25"
    assert found["发出警告次数"] == "2（🟡 1，🟠 0，🔴 1）"
    assert found["检测到塌缩"] == "是"
    assert {"塌缩发生步数", "日志文件", "检测参数", "KL 阈值", "早期停止耐心"} <= found.keys()


@pytest.mark.parametrize("at", [20, 44])
def test_a_resumed_run_counts_on(tmp_path, at):
    """Warnings of the session before count, each once, although it went on after the state."""
    whole = tmp_path / "whole"
    with monitor_in(whole) as monitor:
        healthy_then_collapsing(monitor, 10, 60)
    halved = tmp_path / "halved"
    first = monitor_in(halved)
    healthy_then_collapsing(first, 10, at - 10)
    state = first.state_dict()
    healthy_then_collapsing(first, 0, 6, start=at)  # then it is killed
    first._delivery._writers[0].writer.close()
    for path in halved.glob("*.log"):
        path.rename(tmp_path / "first.log")
    second = monitor_in(halved)
    second.load_state_dict(state)
    with second:
        healthy_then_collapsing(second, 0, 70 - at, start=at)
    ours, theirs = statistics_of(halved), statistics_of(whole)
    same = set(theirs) - {"log file", "full record"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_a_run_without_a_check_leaves_nothing(tmp_path):
    """No file, and no folder."""
    with monitor_in(tmp_path / "logs"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_removed_is_begun_again(tmp_path):
    """With its folder; what comes after it is kept."""
    writer = DetectionLogWriter(tmp_path / "logs")
    writer.open({})
    writer.write(Report(1, 0, Level.OK, {}))
    (path,) = (tmp_path / "logs").iterdir()
    path.unlink()
    path.parent.rmdir()
    writer.write(Report(2, 1, Level.OK, {}))
    assert "step 2" in path.read_text()


def test_a_name_from_outside_forges_no_line(tmp_path):
    """A latent's name with a line's end or a terminal's code stays on its line, in letters."""
    writer = DetectionLogWriter(tmp_path)
    writer.open({})
    name = "z\n2024-12-20 14:30:22,123 - ERROR - forged\x1b[2K"
    alert = Alert(3, name, Level.OK, Level.RED)
    writer.write(Report(3, 0, Level.RED, {}, (alert,)))
    writer.close()
    heads = [line for line in log_of(tmp_path) if LINE.match(line)]
    assert len(heads) == 3  # the check, the alert, the verdict
    assert "\x1b" not in "".join(heads)


def test_two_monitors_of_one_run_have_files_of_their_own(tmp_path, caplog):
    """Beside the curves, in a folder of the second's prefix; no ledger is shared."""
    boards = [TensorBoardWriter(tmp_path), TensorBoardWriter(tmp_path, prefix="early")]
    monitors = [
        CollapseMonitor([board], check_frequency=every, kl_threshold=limit, verbose=False)
        for board, every, limit in zip(boards, (4, 2), (0.01, 0.02), strict=True)
    ]
    for monitor in monitors:
        with monitor:
            healthy_then_collapsing(monitor, 8, 0)
    assert statistics_of(tmp_path)["checks"] == "2"
    assert statistics_of(tmp_path / "early")["checks"] == "4"
    assert statistics_of(tmp_path / "early")["KL threshold"] == "0.02"
    assert len(list(tmp_path.rglob("*.jsonl"))) == 2
    assert warnings_in(caplog) == []


def test_one_that_is_given_is_not_added_again(tmp_path):
    """A user's own ledger or log writer takes the place of ours."""
    elsewhere = tmp_path / "elsewhere"
    writers = [DetectionLogWriter(elsewhere), LedgerWriter(elsewhere)]
    with CollapseMonitor(writers, log_dir=tmp_path, check_frequency=2, verbose=False) as monitor:
        healthy_then_collapsing(monitor, 4, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert len(list(elsewhere.iterdir())) == 3


def test_what_counts_as_a_warning():
    """What gets worse counts once; recoveries, explosions and optional latents do not."""
    tally = Tally()
    alerts = [
        Alert(10, "a", Level.OK, Level.YELLOW),
        Alert(20, "a", Level.YELLOW, Level.RED, checkpoint="before.ckpt"),
        Alert(20, "b", Level.OK, Level.ORANGE),
        Alert(30, "a", Level.RED, Level.OK),
        Alert(40, "a", Level.OK, Level.OK, kind="explosion"),
        Alert(50, "c", Level.OK, Level.RED, optional=True),
        Alert(60, "b", Level.ORANGE, Level.RED),
    ]
    for _ in range(2):
        tally.add(map(alert_to_dict, alerts))
    assert [tally.count(level) for level in Level] == [0, 1, 1, 2]
    assert tally.first_red == (20, "before.ckpt")
