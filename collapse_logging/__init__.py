"""collapse_logging: tells people who train VAEs, early, that a latent is collapsing.

``PosteriorCollapseDetector`` is a Lightning callback, ``CollapseMonitor`` the same for any
training loop. Importing this package imports nothing, using it torch and numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .families import Codebook as Codebook
    from .families import Family as Family
    from .lightning import PosteriorCollapseDetector as PosteriorCollapseDetector
    from .monitor import CollapseMonitor as CollapseMonitor
    from .report import Alert, Indicator, LatentReport, Level, Report
    from .rules import Rules as Rules
    from .statistics import Statistics as Statistics

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


_HOMES = {
    "Codebook": "families",
    "CollapseMonitor": "monitor",
    "Family": "families",
    "PosteriorCollapseDetector": "lightning",
    "Rules": "rules",
    "Statistics": "statistics",
}


def __getattr__(name: str) -> Any:
    """Import a name's module when it is asked for: Lightning asks in every training."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_HOMES.get(name, 'report')}", __name__)
    return getattr(module, name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
