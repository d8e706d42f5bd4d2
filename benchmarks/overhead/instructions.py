"""``python -m benchmarks.overhead.instructions``: instructions of an observed step, by callgrind.

Unlike times they repeat, to a hundredth of a per cent. Needs valgrind, and minutes. The figure is
of one torch and one Python: others run other code.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

RESULT = Path(__file__).parent / "results" / "instructions.json"
STEPS = 50

_SETUP = """
import torch
from collapse_logging import CollapseMonitor

torch.set_num_threads(1)
monitor = CollapseMonitor(check_frequency=10**6, verbose=False, observe_every=1)
mean, log_variance, gradient = (torch.randn(64, 32) for _ in range(3))
mean.requires_grad_()

def step():
    monitor.observe("z", mean, log_variance)
    torch.autograd.backward([mean], [gradient])
    monitor.step()

for _ in range(10):
    step()
"""


def versions() -> dict[str, str]:
    """What the figure is of."""
    return {"torch": torch.__version__, "python": platform.python_version()}


def missing() -> str:
    """Why it cannot be counted here; empty if it can."""
    return "" if shutil.which("valgrind") else "needs valgrind"


def count() -> float:
    """Instructions of one observed step with growth, backward of the mean included.

    Raises:
        OSError: valgrind failed.
    """
    # callgrind is given "python", which must be this one
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = Timer("step()", setup=_SETUP).collect_callgrind(number=STEPS, collect_baseline=False)
    return float(found.counts()) / STEPS


def main() -> int:
    """Count and write the result."""
    if reason := missing():
        print(f"nothing was counted: {reason}.")
        return 0
    result: dict[str, Any] = {"instructions": count(), **versions()}
    RESULT.write_text(json.dumps(result) + "\n")
    print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
