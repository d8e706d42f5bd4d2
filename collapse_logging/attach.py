"""The callback that puts a detector into a Trainer whose script asked for none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .lightning import PosteriorCollapseDetector
from .namespaces import callback_base
from .paths import AUTO

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_base()


class Attach(_Callback):
    """Gives its place to a detector when training starts, unless there is one.

    Not before: the script's own callbacks are not known yet when Lightning asks for more, and
    what is asked for is put into the script's list, which it may give to another Trainer.

    Args:
        arguments: of the detector; ``latents`` is ``"auto"`` unless it is there.

    Raises:
        TypeError, ValueError: not the detector's arguments.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = {**arguments, "latents": arguments.get("latents") or AUTO}
        PosteriorCollapseDetector(**self._arguments)  # a mistake is told now

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Before a checkpoint's states are given to the callbacks, a detector among them."""
        if stage != "fit":
            return
        others = [callback for callback in trainer.callbacks if callback is not self]
        has_one = any(isinstance(callback, PosteriorCollapseDetector) for callback in others)
        place = trainer.callbacks.index(self)
        own = [] if has_one else [PosteriorCollapseDetector(**self._arguments)]
        trainer.callbacks = [*others[:place], *own, *others[place:]]
