"""Scores every detector on every part of the split, and writes JSON and Markdown."""

from __future__ import annotations

import json
import logging
import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import collapse_logging

from . import evaluate, truth
from .cases import HELD_OUT_FAMILIES, Case
from .evaluate import ABLATIONS, DETECTORS, Outcome
from .replay import load

RESULTS = Path(__file__).parent / "results"
PARTS: dict[str, Callable[[Outcome], bool]] = {
    "held out": lambda row: row.held_out,
    "calibration": lambda row: not row.held_out,
    "all": lambda row: True,
}


def judge(case: Case) -> dict[str, list[Outcome]]:
    """What every detector and ablation said of one recorded training, by name."""
    logging.getLogger("collapse_logging").setLevel(
        logging.ERROR
    )  # the manual's rule warns of itself
    record = load(case)
    every = {**DETECTORS, **ABLATIONS}
    return {name: evaluate.outcomes(record, detector) for name, detector in every.items()}


def report(cases: list[Case], judged: list[dict[str, list[Outcome]]]) -> dict[str, Any]:
    """All scores of all detectors, from what :func:`judge` gave for each case."""
    records = [load(case) for case in cases]
    said = {n: [row for j in judged for row in j[n]] for n in {**DETECTORS, **ABLATIONS}}
    linear = [record for record in records if record.case.family == "linear"]
    return {
        "date": date.today().isoformat(),
        "versions": {
            "collapse_logging": getattr(collapse_logging, "__version__", "unknown"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "trainings": len(records),
        "training_seconds": sum(record.about["seconds"] for record in records),
        "truth": dict(Counter(row.truth for row in said["default"])),
        "families": _families(said["default"]),
        "scores": {
            part: {
                name: evaluate.by_family(list(filter(kept, rows))) for name, rows in said.items()
            }
            for part, kept in PARTS.items()
        },
        "units": evaluate.unit_scores(linear),
        "failures": {name: evaluate.failures(said[name]) for name in list(DETECTORS)[:4]},
        "unrated": [asdict(r) for r in said["default"] if r.truth in ("ambiguous", "transient")],
    }


def write(result: dict[str, Any], folder: Path = RESULTS) -> tuple[Path, Path]:
    """``detection.json`` and ``detection.md`` in the folder."""
    folder.mkdir(exist_ok=True)
    to_json, to_markdown = folder / "detection.json", folder / "detection.md"
    to_json.write_text(json.dumps(result, ensure_ascii=False) + "\n")
    to_markdown.write_text(markdown(result))
    return to_json, to_markdown


def markdown(result: dict[str, Any]) -> str:
    """The tables, for people."""
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    lines = [
        "# Detection: recall, false alarms, delay",
        "",
        f"{result['date']}; {versions}. {result['trainings']} trainings "
        f"({result['training_seconds'] / 60:.0f} minutes of one process); latents by truth: "
        + ", ".join(f"{count} {name}" for name, count in result["truth"].items())
        + ". 95 % Wilson intervals in brackets.",
        "",
        f"Truth: collapsed is at most {truth.COLLAPSED_INFORMATION} nats of held-out mutual "
        f"information and a shuffle gap of at most {truth.COLLAPSED_GAP} nats (or 3 errors).",
        "",
        "The rule was calibrated on seeds 0 and 1; held out are seeds 2 and 3 of all families, and "
        f"the families {' and '.join(HELD_OUT_FAMILIES)}. Its first form, fixed before any of "
        "these was trained, had 8 false red of 114 there (`fast`: 4), most of them in `deep`. It "
        "was then changed with these in view: the held-out part below is no longer untouched.",
        "",
        "## Targets, held out",
        "",
        *_targets(result["scores"]["held out"]),
    ]
    for part in PARTS:
        lines += ["", f"## Detectors, {part}", "", *_compared(result["scores"][part])]
    for name in ("default", "fast"):
        lines += ["", f"## By family, all, `{name}`", ""]
        lines += table(result["scores"]["all"][name], "family")
    lines += ["", "## Truth by family", "", *_truths(result["families"])]
    units = {name: _rate(value) for name, value in result["units"].items()}
    lines += ["", "## Dead units of the linear family, last check", ""]
    lines += ["; ".join(f"{name} {value}" for name, value in units.items())]
    for name, rows in result["failures"].items():
        lines += ["", f"## Where `{name}` fails", "", *failures_table(rows)]
    return "\n".join(lines) + "\n"


_SHORT = (
    "default",
    "fast",
    "manual, as shipped",
    "manual, repaired",
    "KL of 50 steps below 0.01",
    "active units below 10 %",
    "no unit's KL above 0.1",
)


def short(result: dict[str, Any]) -> str:
    """The README's table: what matters, on the held-out part."""
    lines = [
        "| rule | collapses found | false red | red after, share of the run | mid-run, steps |",
        "|---|---|---|---|---|",
    ]
    for name in _SHORT:
        s = result["scores"]["held out"][name]["all"]
        share, steps = s["delay_share_from_start"]["median"], s["delay_steps_late"]["median"]
        cells = [f"**{name}**" if name in ("default", "fast") else name]
        cells += [f"{s[key]['hits']} of {s[key]['of']}" for key in ("recall_red", "false_red")]
        cells += ["never" if share is None else f"{share:.0%}"]
        cells += ["never" if steps is None else f"{steps:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _targets(scores: dict[str, Any]) -> list[str]:
    """The targets of this benchmark beside what was measured."""
    default, fast = scores["default"]["all"], scores["fast"]["all"]
    probed = scores["default, probe"]["all"], scores["fast, probe"]["all"]
    both = [("default", default), ("fast", fast)]
    rows = [
        ("recall at red", "100 %", [(n, _rate(s["recall_red"])) for n, s in both]),
        ("false red", "0 of at least 60", [(n, _rate(s["false_red"])) for n, s in both]),
        ("false orange", "at most 2 %", [(n, _rate(s["false_orange"])) for n, s in both]),
        (
            "delay from the start, share of the run: median / 90 % / worst",
            "median 10 %, with fast 5 %; 90 % within 20 %",
            [(n, _spread(s["delay_share_from_start"], "{:.1%}")) for n, s in both],
        ),
        (
            "mid-run collapse, steps to red: median / 90 % / worst",
            "within 200",
            [(n, _spread(s["delay_steps_late"], "{:.0f}")) for n, s in both],
        ),
        (
            "decoder ignores z, with the probe",
            "all",
            [
                (n, _rate(s["ignores_red"]))
                for n, s in zip(("default", "fast"), probed, strict=True)
            ],
        ),
    ]
    lines = ["| quantity | target | default | fast |", "|---|---|---|---|"]
    for name, target, values in rows:
        lines.append(f"| {name} | {target} | " + " | ".join(v for _, v in values) + " |")
    return lines


def _families(rows: list[Outcome]) -> dict[str, dict[str, int]]:
    names = dict.fromkeys(row.family for row in rows)
    return {n: dict(Counter(_label(r) for r in rows if r.family == n)) for n in names}


def _label(row: Outcome) -> str:
    return f"{row.truth}, late" if row.late else row.truth


def _compared(scores: dict[str, Any]) -> list[str]:
    return table({name: families["all"] for name, families in scores.items()}, "detector")


def table(scores: dict[str, Any], first: str) -> list[str]:
    """Scores by name, a row each, under a first column of that title."""
    head = (
        f"| {first} | recall, orange | recall, red | false orange | false red | premature red "
        "| decoder ignores z, red | delay, share of the run | delay, late, steps | changes |"
    )
    return [head, "|---" * 10 + "|", *(_row(name, values) for name, values in scores.items())]


def _row(name: str, s: dict[str, Any]) -> str:
    rates = ("recall_orange", "recall_red", "false_orange", "false_red", "premature_red")
    cells = [name, *(_rate(s[key]) for key in (*rates, "ignores_red"))]
    cells += [_spread(s["delay_share_from_start"], "{:.0%}")]
    cells += [_spread(s["delay_steps_late"], "{:.0f}") if s["late"] else ""]
    cells += ["" if s["changes"] is None else f"{s['changes']:.1f}, at most {s['changes_most']}"]
    return "| " + " | ".join(cells) + " |"


def _rate(r: dict[str, Any]) -> str:
    if not r["of"]:
        return ""
    low, high = r["interval"]
    return f"{r['hits']}/{r['of']} [{low:.0%}, {high:.0%}]"


def _spread(s: dict[str, float | None], form: str) -> str:
    if s["median"] is None and s["worst"] is None and s["p90"] is None:
        return "never"
    shown = ("never" if value is None else form.format(value) for value in s.values())
    return " / ".join(shown)


def _truths(families: dict[str, dict[str, int]]) -> list[str]:
    labels = sorted({label for counts in families.values() for label in counts})
    lines = ["| family | " + " | ".join(labels) + " |", "|---" * (len(labels) + 1) + "|"]
    for name, counts in families.items():
        lines.append(f"| {name} | " + " | ".join(str(counts.get(k, "")) for k in labels) + " |")
    return lines


def failures_table(rows: list[dict[str, Any]]) -> list[str]:
    """What :func:`evaluate.failures` gave, a row each."""
    if not rows:
        return ["Nowhere."]
    lines = ["| what | training | truth | collapsed at | orange | red | steps |", "|---" * 7 + "|"]
    keys = ("what", "name", "truth", "collapsed_at", "orange", "red", "steps")
    return lines + ["| " + " | ".join(str(row[key]) for key in keys) + " |" for row in rows]
