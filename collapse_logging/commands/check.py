"""``check``: the verdict on runs, for people, for scripts and for CI."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..arguments import require_number
from ..reading import worst
from ..report import Level, Report
from ..words import word
from ..writers.base import printable
from .lines import say, width
from .runs import Run, look
from .table import notes, table
from .words import last_healthy, level_of, place, reasons, unknown, what_to_do

_ABOUT = """\
Say whether a latent has collapsed, from the newest check of each run, during
training or after. A PATH is a run folder, a folder of many runs (a sweep), a
collapse_ledger.jsonl, a TensorBoard event file or an offline .wandb file. Where
there is a ledger, it is what is read.
"""

_VERDICTS = """\
verdicts and exit codes:
  healthy      0  level OK, and the latents have carried information
  at risk      0  yellow or orange: suspected, not confirmed; 1 with --fail-on
  collapsed    1  red: confirmed
  cannot tell  2  nothing to read, no check yet, too early, or diverging

Of several runs: 1 if one has failed, else 2 if one cannot be told, else 0.

examples:
  collapse-logging check runs/a || echo "stop it"
  collapse-logging check sweep/ --fail-on orange --json > verdicts.json
  collapse-logging check runs/ --watch
"""


def add_parser(commands: Any) -> None:
    """What can be typed."""
    parser = commands.add_parser(
        "check",
        help="the verdict on runs, also as an exit code for CI",
        description=_ABOUT,
        epilog=_VERDICTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument(
        "--fail-on",
        choices=["yellow", "orange", "red"],
        default="red",
        help="the level from which the exit code is 1 (default: red)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="look again and again, until Ctrl-C; for a running run"
    )
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="S", help="seconds between looks (2)"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="stop watching after so many seconds"
    )
    parser.add_argument(
        "--fail-fast", action="store_true", help="stop watching when the exit code would be 1"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the verdict; returns the exit code.

    Raises:
        ValueError: the only path that was given cannot be read, or options that exclude each other.
    """
    fail_on = Level[options.fail_on.upper()]
    if options.watch:
        if options.json:
            raise ValueError("--json and --watch: expected one of the two, got both.")
        require_number("--interval", options.interval)
        require_number("--timeout", options.timeout or 0.0)
        from .watch import watch

        return watch(options, fail_on)
    if options.fail_fast or options.timeout is not None:
        raise ValueError("--timeout and --fail-fast: expected together with --watch.")
    runs, language = look(options.paths, language=options.language), options.language
    code = exit_code(runs, fail_on)
    if options.json:
        print(json.dumps(as_json(runs, code, language), ensure_ascii=False, indent=2))
    elif len(runs) == 1:
        if runs[0].recording.problem:
            raise ValueError(f"{runs[0].name}: {runs[0].recording.problem}")
        say(in_full(runs[0], language))
    else:
        say([*table(runs, width(), language), "", *notes(runs, language)])
    return code


def exit_code(runs: Sequence[Run], fail_on: Level) -> int:
    """Of all runs together."""
    return worst(run.verdict.exit_code(fail_on) for run in runs)


def in_full(run: Run, language: str = "en") -> list[str]:
    """One run: verdict, each latent with its reasons, what to do."""
    recording, verdict = run.recording, run.verdict
    lines = [word(language, "run", verdict=word(language, verdict.word).upper(), run=run.name)]
    if verdict.why:
        lines.append(unknown(verdict, language))
    if recording.report is not None:
        lines += [place(recording, language), ""]
        for name, latent in recording.report.latents.items():
            level = level_of(recording, name, language)
            lines.append("  " + word(language, "latent", latent=printable(name), level=level))
            lines += [f"    {reason}" for reason in reasons(latent, language)]
        healthy = last_healthy(recording, language)
        lines += ["", word(language, "last healthy", step=healthy)]
    if told := what_to_do(recording, language):
        lines.append(word(language, "what to do", advice=told))
    return lines


def as_json(runs: Sequence[Run], code: int, language: str = "en") -> dict[str, Any]:
    """The object that ``--json`` prints; numbers that are not finite are null.

    ``why``, ``reasons`` and ``advice`` are for people; all else is the same in every language.
    """
    return {
        "exit_code": code,
        "verdict": runs[0].verdict.word,
        "runs": [_run_as_json(run, language) for run in runs],
    }


def _run_as_json(run: Run, language: str) -> dict[str, Any]:
    recording, report = run.recording, run.recording.report
    return {
        "run": run.name,
        "path": str(recording.path),
        "source": recording.source,
        "detector": recording.name,
        "verdict": run.verdict.word,
        "why": unknown(run.verdict, language),
        "level": None if report is None else report.level.name,
        "step": None if report is None else report.step,
        "checks": 0 if report is None else report.check + 1,
        "last_healthy_step": None if report is None else report.last_healthy_step,
        "latents": {} if report is None else _latents_as_json(run, report, language),
        "advice": what_to_do(recording, language),
        "damaged_lines": recording.damaged,
    }


def _latents_as_json(run: Run, report: Report, language: str) -> dict[str, Any]:
    return {
        name: {
            "level": latent.level.name,
            "since_step": run.recording.since(name),
            "measures": {k: v if math.isfinite(v) else None for k, v in latent.measures.items()},
            "reasons": reasons(latent, language) if latent.level else [],
        }
        for name, latent in report.latents.items()
    }
