"""What does not depend on the machine: operators, waits, bytes, bits; and two times.

Emission is what TensorBoard's writer takes of the training thread at a check; import is what
the package adds to torch and numpy in a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from collapse_logging import CollapseMonitor, Rules, pile
from collapse_logging.report import Report
from collapse_logging.writers import MemoryWriter, TensorBoardWriter, Writer, complete
from collapse_logging.writers.guard import GuardedWriter

from .blocks import Stopwatch
from .training import Size, Training
from .watchers import Nobody, Ours

EVERY_STEP: dict[str, Any] = {"observe_every": 1, "max_rows": None}
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
"""Operators that read a value on the host."""
SLOW = 0.2


class Counted(TorchDispatchMode):
    """Counts what is dispatched: all, what computes (no view, no allocation), what waits."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.kernels = self.waits = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count one and let it pass."""
        self.operators += 1
        name = function.overloadpacket.__name__
        self.kernels += not function.is_view and not name.startswith(("empty", "new_empty"))
        self.waits += name in WAITS
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Batches are summed at once, as they are wherever the model is not on the CPU."""
    most, pile.MOST_BYTES = pile.MOST_BYTES, 0
    try:
        yield
    finally:
        pile.MOST_BYTES = most


def operators(latents: int, steps: int = 4) -> dict[str, float]:
    """What watching adds to a step that is observed and is no check."""
    counts = []
    for watcher in (Nobody(), Ours(CollapseMonitor(verbose=False, **EVERY_STEP))):
        training = Training(Size(batch=8, units=4, latents=latents, hidden=8))
        training.block(watcher, 2)
        with Counted() as counted:
            training.block(watcher, steps)
        counts.append(counted)
    without, watched = counts
    kinds = ("operators", "kernels", "waits")
    return {kind: (getattr(watched, kind) - getattr(without, kind)) / steps for kind in kinds}


def live_bytes() -> int:
    """Bytes of all tensors that are alive, each storage once."""
    gc.collect()
    # exactly these: what a compiler keeps to reason with has no memory
    tensors = [thing for thing in gc.get_objects() if type(thing) in (Tensor, Parameter)]
    tensors = [tensor for tensor in tensors if tensor.layout is torch.strided]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def bytes_a_unit(units: int = 4096) -> float:
    """Bytes that the monitor of one latent holds between two steps; on a CPU there is the pile."""
    monitor = CollapseMonitor(verbose=False, **EVERY_STEP)
    mean, log_variance = torch.randn(4, units), torch.zeros(4, units)
    before = live_bytes()
    for _ in range(2):
        monitor.observe("z", mean, log_variance)
        monitor.step()
    return (live_bytes() - before) / units


def is_bit_identical(steps: int = 120) -> bool:
    """Whether parameters and the random stream are the same with and without the monitor."""
    ends = []
    for watcher in (Nobody(), Ours(CollapseMonitor(verbose=False))):
        training = Training(Size(batch=32, units=8, latents=2, hidden=32))
        training.block(watcher, steps)
        ends.append([*training.model.parameters(), torch.get_rng_state()])
        watcher.close()
    return all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def emission(
    own_file: bool, checks: int = 200, latents: int = 1, units: int = 32
) -> list[tuple[float, float]]:
    """Seconds of the training thread in TensorBoard's writer at each check, ``(processor, wall)``.

    The reports are a real training's, its alerts, which are waited for, among them; so are the
    first check, which writes the dashboard, and those with histograms and the map.

    Args:
        own_file: write an event file of our own, in the background; else through a
            ``SummaryWriter`` of the user's, which is nobody else's to call.
        checks: how many.
        latents: of the training.
        units: of each latent.
    """
    from torch.utils.tensorboard import SummaryWriter

    reports = _reports(checks, latents, units)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        users = None if own_file else SummaryWriter(folder)  # type: ignore[no-untyped-call]
        board = TensorBoardWriter(users or folder)
        (writer,) = complete([board], None, verbose=False)[-1:]
        guarded = GuardedWriter(writer)  # before it are the ledger and the detection log
        assert board in (writer, getattr(writer, "writer", None))
        for report in reports:
            spent = Stopwatch()
            with spent:
                guarded.write(report)
            seconds.append((round(spent.processor, 6), round(spent.wall, 6)))
            time.sleep(0.002)  # what is in threads goes on while the training trains
        guarded.close()
        if users is not None:
            users.close()  # type: ignore[no-untyped-call]
    return seconds


def _reports(checks: int, latents: int, units: int) -> list[Report]:
    memory = MemoryWriter()
    watcher = Ours(CollapseMonitor([memory], check_frequency=2, verbose=False))
    size = Size(batch=32, units=units, latents=latents, hidden=32)
    Training(size).block(watcher, 2 * checks)
    watcher.close()
    return list(memory.reports)[:checks]


class Slow(Writer):
    """A writer that takes its time, in a thread of its own as our files are written."""

    in_background = True

    def write(self, report: Report) -> None:
        """Sleep."""
        time.sleep(SLOW)


def slow_writer(checks: int = 10) -> float:
    """How much longer the longest step is with a writer in the background that takes 0.2 s.

    No check has an alert, which would be waited for; the first checks are left out: they are
    longer with any writer.
    """
    longest = []
    for writers in ([], [Slow()]):
        rules = Rules(check_frequency=2, skip_checks=2 * checks)
        watcher = Ours(CollapseMonitor(writers, rules=rules, verbose=False))
        training = Training(Size(batch=8, units=4, latents=1, hidden=8))
        training.block(watcher, 6)
        longest.append(max(training.block(watcher, 1).own for _ in range(2 * checks)))
        watcher.close()
    without, slow = longest
    return round(max(slow - without, 0.0), 6)


_IMPORT = (
    "import time, torch, numpy; clocks = time.process_time, time.perf_counter; "
    "start = [clock() for clock in clocks]; import collapse_logging.monitor; "
    "print(*(clock() - begin for clock, begin in zip(clocks, start)))"
)


def import_seconds(times: int = 7) -> list[list[float]]:
    """Seconds for the package after torch and numpy, ``(processor, wall)`` a fresh interpreter."""
    found = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
        )
        found.append([round(float(value), 5) for value in done.stdout.split()])
    return found


def counts(tell: Callable[[str], None]) -> dict[str, Any]:
    """All of them."""
    tell("counts, emission and import")
    piled = {str(latents): operators(latents) for latents in (1, 8)}
    with as_on_a_gpu():
        at_once = {str(latents): operators(latents) for latents in (1, 8)}
        held = round(bytes_a_unit(), 2)
    return {
        "operators": at_once,
        "piled": piled,
        "bytes_a_unit": held,
        "bit_identical": is_bit_identical(),
        "emission": {"own": emission(own_file=True), "users": emission(own_file=False)},
        "slow_writer": slow_writer(),
        "import": import_seconds(),
    }
