"""The detection benchmark with few steps observed, as committed."""

import json

from benchmarks.detection import thinned


def test_the_committed_table_is_of_the_committed_figures():
    """The table is what its figures say, to the letter."""
    figures = json.loads((thinned.RESULTS / "thinned.json").read_text(encoding="utf-8"))
    assert thinned.markdown(figures) == (thinned.RESULTS / "thinned.md").read_text(encoding="utf-8")


def test_few_steps_are_enough():
    """What the budget may come down to finds every collapse and accuses no healthy latent."""
    figures = json.loads((thinned.RESULTS / "thinned.json").read_text(encoding="utf-8"))
    few = figures["scores"]["every 5th step"]
    assert few["recall_red"]["hits"] == few["recall_red"]["of"] >= 48
    assert few["false_red"]["hits"] == 0
    assert few["false_red"]["of"] >= 60
