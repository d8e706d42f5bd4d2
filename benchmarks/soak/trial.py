"""One trial: a training undisturbed, and the same training under chaos and kills."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

from collapse_logging.writers.ledger import LEDGER_NAME

from . import checks
from .schedule import Schedule
from .training import TOLD, session

FEWEST, AT_THE_START = 20, 0.1
"""Steps from one kill to the next, at least; share of kills that come while a session starts."""

_TAIL = 2000
"""Characters of the log that are shown of a session that failed."""


class Outcome(NamedTuple):
    """What a trial gave.

    Attributes:
        broken: what did not hold, empty if all is well.
        figures: how much there was of what.
        folder: of the disturbed run.
        undisturbed: reports of the undisturbed one.
    """

    broken: list[str]
    figures: Counter[str]
    folder: Path
    undisturbed: list[checks.Row]


def trial(
    folder: Path, schedule: Schedule, context: BaseContext, tell: Callable[[str], None]
) -> Outcome:
    """Train three times, bare, watched, and watched under chaos, and compare."""
    bare, watched, disturbed = (folder / name for name in ("bare", "watched", "disturbed"))
    for place in (bare, watched, disturbed):
        place.mkdir(parents=True)
    for place in (bare, watched):
        process, _ = _started(context, place, schedule, chaos=False, watched=place is watched)
        process.join()
        if process.exitcode:
            raise RuntimeError(f"the undisturbed training ended with {process.exitcode}: {place}")
    tell(f"seed {schedule.seed}: undisturbed, {schedule.steps} steps, bare and watched")
    undisturbed = checks.rows_of(watched / LEDGER_NAME)
    broken = checks.windows(undisturbed, schedule, schedule.steps)
    broken += checks.parameters(watched, bare)
    killed, kills = _killed_again_and_again(disturbed, schedule, context, undisturbed, tell)
    broken, figures = broken + killed, dict[str, int]()
    if not killed:
        at_the_end, figures = checks.at_the_end(disturbed, bare, schedule, undisturbed)
        broken += at_the_end
    return Outcome(broken, Counter(figures) + Counter(kills=kills), disturbed, undisturbed)


def _killed_again_and_again(
    folder: Path,
    schedule: Schedule,
    context: BaseContext,
    undisturbed: list[checks.Row],
    tell: Callable[[str], None],
) -> tuple[list[str], int]:
    """Sessions until one comes to its end; what broke, and the kills."""
    chance, kills, at = random.Random(f"{schedule.seed} kills"), 0, 0
    while True:
        process, reached = _started(context, folder, schedule, chaos=True, watched=True)
        _wait(process, reached, at + chance.randint(FEWEST, schedule.kill_within), chance)
        process.kill()
        process.join()
        if process.exitcode == 0:
            return [], kills
        if process.exitcode != -signal.SIGKILL:
            told = (folder / TOLD).read_text()[-_TAIL:]
            return [f"a session ended with {process.exitcode}: {told}"], kills
        at = reached.value or at
        kills += 1
        broken = checks.after_a_kill(folder, schedule, undisturbed)
        tell(f"seed {schedule.seed}: kill {kills} at step {at}: {broken or 'all holds'}")
        if broken:
            return broken, kills


def _started(
    context: BaseContext, folder: Path, schedule: Schedule, chaos: bool, watched: bool
) -> tuple[Any, Any]:
    """A process, and the step that it has reached; without a lock, which a kill would keep."""
    reached = context.RawValue("i", 0)
    given = (folder, schedule, chaos, watched, reached)
    process = context.Process(target=session, args=given)  # type: ignore[attr-defined]
    process.start()
    return process, reached


def _wait(process: Any, reached: Any, stop: int, chance: random.Random) -> None:
    """Until the session is to be killed, at the latest until it has ended."""
    if chance.random() < AT_THE_START:
        time.sleep(0.5 * chance.random())
        return
    while process.is_alive() and reached.value < stop:
        time.sleep(0.002)
    time.sleep(0.01 * chance.random())
