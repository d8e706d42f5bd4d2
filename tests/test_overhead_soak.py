"""What the process holds does not grow with its steps; 100,000 are benchmarks.overhead.soak."""

import json
import subprocess
import sys

from benchmarks.overhead.soak import Held, soak
from collapse_logging.reading.ledger import read_ledger

ALONE = """
import json, pathlib, sys
from benchmarks.overhead.soak import soak
seen = soak(pathlib.Path(sys.argv[1]), steps=2000, every=1000, tell=lambda what: None)
print(json.dumps(seen))
"""


def test_nothing_grows(tmp_path):
    """From step 1,000 to 2,000 no tensor, file or thread is added, and next to no object.

    In a process of its own: here earlier tests' objects would come and go.
    """
    command = [sys.executable, "-c", ALONE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    first, last = (Held(*row) for row in json.loads(done.stdout))
    assert (first.step, last.step) == (1000, 2000)
    assert first.tensors == last.tensors > 0
    assert first.descriptors == last.descriptors
    assert first.threads == last.threads
    # a column of the information map a check, until it is full; a leak a step would be 1,000
    assert abs(last.objects - first.objects) < 100
    assert last.resident > 0


def test_all_of_it_was_watched(tmp_path):
    """The steps were checked and written: what is flat is not an idle process."""
    soak(tmp_path, steps=200, every=200, tell=lambda what: None)
    (ledger,) = tmp_path.rglob("collapse_ledger.jsonl")
    assert len(ledger.read_text().splitlines()) >= 4
    assert read_ledger(ledger).report.step == 200
    assert list(tmp_path.rglob("events.out.tfevents.*"))
