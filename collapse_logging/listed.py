"""The manual's convention: a model's ``_last_z_list`` of ``(z, mean, log_variance)``."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from torch import Tensor, nn

from .forms import Form
from .outputs import describe, posterior_of
from .posterior import Posterior

LISTED = Form("log_variance", (-2,), (-1,), alone=False)
"""An entry; its sample was made of the mean."""


class LastList:
    """Reads a model's list, each batch's once.

    Args:
        model: it, or one of its modules, has the list.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._last = _nothing

    def __bool__(self) -> bool:
        """Whether there is a list that holds something."""
        return bool(self._entries())

    def posteriors(self) -> Iterator[tuple[str, Posterior]]:
        """Names and posteriors of a training batch that was not read yet.

        Raises:
            TypeError: the list holds something else.
        """
        for i, entry in enumerate(entries := self._entries()):
            name = "z" if len(entries) == 1 else f"z{i}"
            posterior = posterior_of(entry, LISTED)
            if not isinstance(posterior, Posterior):
                raise TypeError(
                    f"latent {name!r}: expected _last_z_list to hold (z, mean, log_variance), got "
                    f"{describe(entry)}."
                )
            if not posterior.mean.requires_grad:  # a validation's
                return
            if i == 0 and posterior.mean is self._last():
                return
            if i == 0:
                self._last = weakref.ref(posterior.mean)
            yield name, posterior

    def _entries(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        lists = (vars(module).get("_last_z_list") for module in self._model.modules())
        return next((entries for entries in lists if isinstance(entries, list) and entries), [])


def _nothing() -> Tensor | None:
    return None
