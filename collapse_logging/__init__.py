"""collapse_logging: tells people who train VAEs, early, that a latent is collapsing.

``PosteriorCollapseDetector`` is a Lightning callback, ``CollapseMonitor`` the same for any
training loop. Importing this package imports nothing, using it torch and numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .on_demand import on_demand

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


__getattr__ = on_demand(  # Lightning asks in every training
    __name__,
    {
        "Alert": "report",
        "Codebook": "families",
        "CollapseMonitor": "monitor",
        "Family": "families",
        "Indicator": "report",
        "LatentReport": "report",
        "Level": "report",
        "PosteriorCollapseDetector": "lightning",
        "Report": "report",
        "Rules": "rules",
        "Statistics": "statistics",
    },
)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
