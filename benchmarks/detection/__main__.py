"""``python -m benchmarks.detection run | audit | report | thinned | picture``."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two processes, one core each

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from . import record, replay, tables, thinned, truth
from .cases import Case, all_cases, subset

_MARKS = {truth.COLLAPSED: "c", truth.HEALTHY: "H", truth.IGNORES: "i", truth.AMBIGUOUS: "?"}


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("command", choices=("run", "audit", "report", "thinned", "picture"))
    parser.add_argument("--only", default="", help="part of family/variant/seed")
    parser.add_argument("--subset", action="store_true", help="the twenty trainings of the test")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    cases = [c for c in (subset() if given.subset else all_cases()) if given.only in c.name]
    if given.command == "run":
        return run(cases, given.jobs)
    if given.command == "picture":
        from .picture import draw

        print("written:", draw())
        return 0
    ready = [case for case in cases if record.is_recorded(case)]
    if len(ready) < len(cases):
        print(f"{len(cases) - len(ready)} of {len(cases)} trainings are missing: run first.")
    if given.command == "audit":
        for case in ready:
            print(audit(case))
        return 0
    if given.command == "thinned":
        print("written:", *thinned.write(thinned.score(ready)))
        return 0
    return _report(ready, given.jobs)


def _progress() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description:40.40}"), *columns)


def run(cases: list[Case], jobs: int) -> int:
    """Train what has no record yet; may be interrupted at any time and started again."""
    missing = [case for case in cases if not record.is_recorded(case)]
    missing.sort(key=lambda case: case.seed)  # every variant once, then again
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context)
    failed = []
    try:
        with _progress() as progress:
            task = progress.add_task(
                "training", total=len(cases), completed=len(cases) - len(missing)
            )
            waiting = {pool.submit(record.record, case): case for case in missing}
            for done in as_completed(waiting):
                case = waiting[done]
                if done.exception() is not None:
                    failed.append(f"{case.name}: {done.exception()!r}")
                progress.update(task, advance=1, description=case.name)
    except KeyboardInterrupt:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        print("interrupted; what is finished is kept, start again to go on.")
        return 130
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    print("\n".join(failed) or f"{len(cases)} trainings are recorded.")
    return 1 if failed else 0


def audit(case: Case) -> str:
    """Truth, its course and the levels of one training, to see whether it is what was meant."""
    kept = replay.load(case)
    lines = []
    for latent in case["latents"]:
        _, truths = kept.truths(latent)
        course, last = kept.course(latent), truths[-1]
        levels = replay.replay(kept)[latent].levels
        flags = ("late " if course.late else "") + ("transient " if course.transient else "")
        odd = "" if case.intent in ("", course.category) else f" (meant: {case.intent})"
        lines += [
            f"{case.name} {latent}: {course.category} {flags}at {course.collapsed_at}{odd}; "
            f"MI {last.information:.3f}, gap {last.gap:.3f} +- {last.gap_error:.3f}",
            f"    truth   {''.join(_MARKS[t.category] for t in truths)}",
            f"    levels   {''.join(map(str, levels))}",
        ]
    return "\n".join(lines)


def _report(cases: list[Case], jobs: int) -> int:
    context = multiprocessing.get_context("spawn")
    with _progress() as progress, ProcessPoolExecutor(jobs, context) as pool:
        found = pool.map(tables.judge, cases, chunksize=4)
        judged = list(progress.track(found, total=len(cases), description="scoring"))
    result = tables.report(cases, judged)
    written = tables.write(result)
    print(tables.markdown(result))
    print("written:", *written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
