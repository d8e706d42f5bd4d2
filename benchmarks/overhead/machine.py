"""On what it was measured."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch

import collapse_logging


def machine() -> dict[str, Any]:
    """Processor, cores, versions, threads, date, and how busy it was before the run."""
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "collapse_logging": collapse_logging.__version__,
    }


def line(about: dict[str, Any]) -> str:
    """As a table's first line."""
    return (
        f"{about['date']}; {about['processor']}, {about['cores']} cores, {about['threads']} "
        f"thread; load before the run {about['load']}; torch {about['torch']}, python "
        f"{about['python']}, collapse_logging {about['collapse_logging']}."
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for entry in information.read_text().splitlines():
            if entry.startswith("model name"):
                return entry.partition(":")[2].strip()
    return platform.processor() or platform.machine()
