"""collapse_logging: tells people who train VAEs, early, that a latent is collapsing.

``PosteriorCollapseDetector`` is a Lightning callback, ``CollapseMonitor`` the same for any
training loop. Importing this package imports torch and numpy, nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .families import Codebook, Family
from .monitor import CollapseMonitor
from .report import Alert, Indicator, LatentReport, Level, Report
from .rules import Rules
from .statistics import Statistics

if TYPE_CHECKING:
    from .lightning import PosteriorCollapseDetector as PosteriorCollapseDetector

__version__ = "1.0.0"

__all__ = [
    "Alert",
    "Codebook",
    "CollapseMonitor",
    "Family",
    "Indicator",
    "LatentReport",
    "Level",
    "PosteriorCollapseDetector",
    "Report",
    "Rules",
    "Statistics",
]


def __getattr__(name: str) -> Any:
    """Import the Lightning callback only when it is asked for."""
    if name == "PosteriorCollapseDetector":
        from .lightning import PosteriorCollapseDetector

        return PosteriorCollapseDetector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return __all__
