"""Reading back what a detector left behind: ledgers, event files, offline W&B files."""

from .everything import recordings, sources
from .find import Source, find
from .ledger import Follower
from .recording import Recording, Series, UnitHistory
from .verdict import Verdict, judge, worst

__all__ = [
    "Follower",
    "Recording",
    "Series",
    "Source",
    "UnitHistory",
    "Verdict",
    "find",
    "judge",
    "recordings",
    "sources",
    "worst",
]
