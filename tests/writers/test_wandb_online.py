"""Weights & Biases online, against a server on this machine: upload, refusals, a killed core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collapse_logging import Report
from collapse_logging.writers import WandbWriter
from collapse_logging.writers.ledger import read_ledger

from .wandb_server import WandbServer, serving

wandb = pytest.importorskip("wandb")


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A W&B server that takes everything, until it is told otherwise."""
    with serving() as server:
        yield server


def start(server: WandbServer, folder: Path) -> Any:
    """An online run on that server."""
    settings = wandb.Settings(
        base_url=server.address,
        api_key="k" * 40,
        silent=True,
        console="off",
        x_disable_stats=True,
        x_disable_meta=True,
        x_graphql_retry_wait_min_seconds=0.1,
        x_graphql_retry_wait_max_seconds=0.2,
        x_file_stream_retry_wait_min_seconds=0.1,
        x_file_stream_retry_wait_max_seconds=0.2,
    )
    return wandb.init(project="vae", mode="online", dir=str(folder), settings=settings)


def write_all(run: Any, reports: list[Report]) -> list[float]:
    """Write every report and a row of the user's; seconds of each write after the first."""
    writer = WandbWriter(run)
    writer.open({"kl_threshold": 0.01})
    seconds = []
    for report in reports:
        began = time.monotonic()
        writer.write(report)
        seconds.append(time.monotonic() - began)
        run.log({"mine": report.check}, step=report.step)
    writer.close()
    return seconds[1:]  # the first imports wandb's data types


def assert_everything_arrived(server: WandbServer, reports: list[Report]) -> None:
    """Every row of ours and of the user's, and one alert a change of level."""
    theirs = [(row["_step"], row["mine"]) for row in server.lines if "mine" in row]
    assert theirs == [(report.step, report.check) for report in reports]
    ours = [row for row in server.lines if "collapse/level" in row]
    assert [row["collapse/step"] for row in ours] == [report.step for report in reports]
    for row, report in zip(ours, reports, strict=True):
        expected = {tag: pytest.approx(value) for tag, value in report.scalars().items()}
        assert {tag: row[tag] for tag in expected} == expected
    alerts = [alert for report in reports for alert in report.alerts]
    assert [alert["title"] for alert in server.alerts] == [alert.title for alert in alerts]
    assert [alert["severity"] for alert in server.alerts] == ["INFO", "WARN", "ERROR"]
    for arrived, alert in zip(server.alerts, alerts, strict=True):
        assert arrived["text"].startswith(alert.text)


def test_an_online_run_is_uploaded_with_its_alerts(
    server: WandbServer, tmp_path: Path, reports: list[Report]
) -> None:
    """Rows, thresholds and exactly one alert a change of level arrive at the server."""
    run = start(server, tmp_path)
    write_all(run, reports)
    run.finish()
    assert_everything_arrived(server, reports)
    configs = [values["config"] for name, values in server.calls if name == "UpsertBucket"]
    assert json.loads(configs[-1])["collapse"]["value"] == {"kl_threshold": 0.01}


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("what", ["alerts", "uploads"])
def test_a_refusing_server_does_not_hold_training_up(
    server: WandbServer, tmp_path: Path, reports: list[Report], status: int, what: str
) -> None:
    """W&B's own process waits and tries again; when the server is back, all arrives, once."""
    refused = "NotifyScriptableRunAlert" if what == "alerts" else "file_stream"
    server.refuse = lambda operation: status if operation == refused else 200
    run = start(server, tmp_path)
    seconds = write_all(run, reports)
    deadline = time.monotonic() + 60
    while not server.refused and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(server.refused) == {refused}
    assert max(seconds) < 1.0
    server.refuse = lambda operation: 200
    run.finish()
    assert_everything_arrived(server, reports)


BROKEN = """
import json, os, signal, sys, time
from pathlib import Path
from collapse_logging.writers import LedgerWriter, WandbWriter, Writer
from tests.writers.conftest import drive
from tests.writers.test_wandb_online import start
from tests.writers.wandb_server import serving

folder, fault = Path(sys.argv[1]), sys.argv[2]

def kill_core():
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_text().split("\\0")
        except OSError:
            continue
        if words[0].endswith("wandb-core") and str(os.getpid()) in words:
            os.kill(int(file.parent.name), signal.SIGKILL)

class Break(Writer):
    seconds = []
    began = None
    def write(self, report):
        if report.check == 2 and fault == "core killed":
            kill_core()
            time.sleep(0.5)
        elif report.check == 2:
            served.__exit__(None, None, None)
        self.began = time.monotonic()

class Watch(Writer):
    def write(self, report):
        Break.seconds.append(time.monotonic() - first.began)

served = serving()
run = start(served.__enter__(), folder)
first = Break()
drive([LedgerWriter(folder), first, WandbWriter(run), Watch()], strict=False)
print(json.dumps(Break.seconds[1:]), flush=True)
kill_core()  # it would wait for a server that is gone, and so would finish(), which is the user's
os._exit(0)
"""


@pytest.mark.parametrize("fault", ["core killed", "server gone"])
def test_training_goes_on_without_wandb(tmp_path: Path, fault: str) -> None:
    """With W&B's process killed or its server gone, each check is fast and the ledger whole."""
    own_core = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path), fault],
        cwd=Path(__file__).parents[2],
        env=own_core,
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seconds = json.loads(done.stdout.splitlines()[-1])
    assert len(seconds) == 11
    assert max(seconds) < 1.0
    lines = list(read_ledger(tmp_path / "collapse_ledger.jsonl"))[1:]
    assert [line["check"] for line in lines] == list(range(12))
    assert [alert["level"] for line in lines for alert in line["alerts"]] == [
        "YELLOW",
        "ORANGE",
        "RED",
    ]
    told = done.stderr.count("WandbWriter failed at step")
    assert told == (1 if fault == "core killed" else 0), done.stderr
