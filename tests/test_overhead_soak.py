"""What the process holds does not grow with its steps; 100,000 are benchmarks.overhead.soak."""

from benchmarks.overhead.soak import soak
from collapse_logging.reading.ledger import read_ledger


def test_nothing_grows(tmp_path):
    """From step 1,000 to 2,000 no tensor, file or thread is added, and next to no object."""
    told = []
    first, last = soak(tmp_path, steps=2000, every=1000, tell=told.append)
    assert (first.step, last.step) == (1000, 2000)
    assert first.tensors >= last.tensors  # what earlier tests left may go
    assert first.descriptors == last.descriptors
    assert first.threads == last.threads
    # a column of the information map a check, until it is full; a leak a step would be 1,000
    assert abs(last.objects - first.objects) < 100
    assert len(told) == 2
    assert last.resident > 0


def test_all_of_it_was_watched(tmp_path):
    """The steps were checked and written: what is flat is not an idle process."""
    soak(tmp_path, steps=200, every=200, tell=lambda what: None)
    (ledger,) = tmp_path.rglob("collapse_ledger.jsonl")
    assert len(ledger.read_text().splitlines()) >= 4
    assert read_ledger(ledger).report.step == 200
    assert list(tmp_path.rglob("events.out.tfevents.*"))
