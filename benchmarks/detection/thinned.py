"""``python -m benchmarks.detection thinned``: the default rule when few steps are observed.

A budget may thin what is observed down to ten steps a window of 50. The same trainings were
watched by two monitors at once, one that observed every step and one every fifth.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import torch

from . import evaluate, tables
from .cases import Case
from .record import OBSERVED_EVERY, THINNED
from .replay import load, replay

RESULTS = tables.RESULTS
DETECTORS = {
    "every step": lambda record: replay(record),
    f"every {OBSERVED_EVERY}th step": lambda record: replay(record, pace=THINNED),
}


def score(cases: list[Case]) -> dict[str, Any]:
    """Scores of both monitors on recorded cases."""
    records = [load(case) for case in cases]
    said = {
        name: [row for record in records for row in evaluate.outcomes(record, detector)]
        for name, detector in DETECTORS.items()
    }
    return {
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "trainings": len(records),
        "seeds": sorted({case.seed for case in cases}),
        "scores": {name: evaluate.score(rows) for name, rows in said.items()},
        "failures": {name: evaluate.failures(rows) for name, rows in said.items()},
    }


def markdown(result: dict[str, Any]) -> str:
    """The table, for people."""
    lines = [
        "# Few steps observed",
        "",
        f"{result['date']}; torch {result['torch']}. {result['trainings']} trainings (seeds "
        f"{', '.join(map(str, result['seeds']))}), each watched by two monitors under the default "
        "rule without the probe. 95 % Wilson intervals in brackets.",
        "",
        *tables.table(result["scores"], "observed"),
    ]
    for name, rows in result["failures"].items():
        lines += ["", f"## Where `{name}` fails", "", *tables.failures_table(rows)]
    return "\n".join(lines) + "\n"


def write(result: dict[str, Any], folder: Path = RESULTS) -> tuple[Path, Path]:
    """``thinned.json`` and ``thinned.md`` in the folder."""
    to_json, to_markdown = folder / "thinned.json", folder / "thinned.md"
    to_json.write_text(json.dumps(result, ensure_ascii=False) + "\n")
    to_markdown.write_text(markdown(result))
    return to_json, to_markdown
