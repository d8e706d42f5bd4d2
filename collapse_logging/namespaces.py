"""The base class of the callback, for ``pytorch_lightning`` and ``lightning.pytorch``."""

from __future__ import annotations

import importlib
import importlib.util
import sys

_NAMESPACES = ("pytorch_lightning", "lightning.pytorch")


def callback_base() -> type:
    """A class with the ``Callback`` of each namespace in use, else of each installed.

    The two namespaces' classes are unrelated; a callback with both bases passes both Trainers.

    Raises:
        ModuleNotFoundError: no Lightning is installed.
    """
    used = [name for name in _NAMESPACES if name in sys.modules]
    installed = [name for name in _NAMESPACES if importlib.util.find_spec(name.split(".")[0])]
    if not installed:
        raise ModuleNotFoundError(
            "PosteriorCollapseDetector is a Lightning callback and Lightning is not installed; "
            "pip install 'collapse-logging[lightning]', or use CollapseMonitor in a plain loop."
        )
    bases = tuple(importlib.import_module(name).Callback for name in used or installed)
    return type("_Callback", bases, {})
