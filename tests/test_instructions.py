"""Instructions of an observed step, which repeat where times do not."""

import json
import os

import pytest

from benchmarks.overhead import instructions

REASON = instructions.missing() or (
    "" if os.environ.get("COLLAPSE_CALLGRIND") else "takes minutes: set COLLAPSE_CALLGRIND=1"
)


@pytest.mark.skipif(bool(REASON), reason=REASON)
def test_a_step_takes_the_instructions_that_were_committed():
    """Within 3 %; with another torch or Python it is another program."""
    committed = json.loads(instructions.RESULT.read_text(encoding="utf-8"))
    others = {key: value for key, value in committed.items() if key != "instructions"}
    if others != instructions.versions():
        pytest.skip(f"the committed figure is of {others}")
    assert instructions.count() == pytest.approx(committed["instructions"], rel=0.03)
