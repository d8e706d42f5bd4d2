"""Remedies: responses that change one number of the model."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from .alert_parts import Action
from .arguments import got, require_number
from .attribute import read, require_settable, write
from .report import Alert, Level, Report
from .responses import CheckResponse


class Remedy(CheckResponse):
    """Sets one number of the model when a latent gets worse, once a check.

    Among ``responses`` it acts at orange and at red; as ``on_yellow``, ``on_orange`` or ``on_red``
    at that level. The alert says what it does, in every tracker, log and ledger. A resumed run
    goes on with the number that it had set. Every rank sets the same.

    Args:
        attribute: the number's name, dotted, e.g. ``"beta"`` or ``"vae.beta"``: a number or a
            tensor of one element.
        of: the object that has it; None: the LightningModule, under Lightning.

    Raises:
        TypeError: ``attribute`` is no name.
    """

    def __init__(self, attribute: str, of: object = None) -> None:
        if not isinstance(attribute, str) or not all(attribute.split(".")):
            raise TypeError(
                f"{type(self).__name__}: expected an attribute's name, e.g. 'beta' or 'vae.beta', "
                f"got {got(attribute)}."
            )
        self.attribute = attribute
        self._of = of
        self._model: object = of
        self._acted_at = -1
        if of is not None:
            self.bind(of)

    @abstractmethod
    def changed(self, value: float, step: int) -> float:
        """The number from now on.

        Args:
            value: the number until now.
            step: training step of the alert.
        """

    def bind(self, model: object) -> None:
        """Say whose attribute it is, unless that was given.

        Raises:
            ValueError: it has no such number, or one that cannot be set.
        """
        self._model = model if self._of is None else self._of
        require_settable(type(self).__name__, self._model, self.attribute)

    @property
    def bound(self) -> bool:
        """Whether it is known whose attribute it is."""
        return self._model is not None

    def action(self, alert: Alert) -> Action | None:
        """What it would do about an alert, whatever its level; None: nothing, or done already."""
        value = read(self._model, self.attribute)
        after = self.changed(value, alert.step)
        if alert.step == self._acted_at or after == value:
            return None
        return Action(self.attribute, value, after)

    def plan(self, alert: Alert) -> Action | None:
        """What it will do about an alert at orange or red."""
        return self.action(alert) if is_worse(alert) and alert.level >= Level.ORANGE else None

    def act(self, action: Action | None, step: int) -> None:
        """Do it."""
        if action is not None:
            self._acted_at = step
            write(self._model, self.attribute, action.after)

    def __call__(self, alert: Alert) -> None:
        """Act at orange and at red."""
        self.act(self.plan(alert), alert.step)

    def on_report(self, report: Report) -> None:
        """A check alone changes nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The number, if it was ever set."""
        acted = self._acted_at >= 0 and self.bound
        return {
            "acted_at": self._acted_at,
            "value": read(self._model, self.attribute) if acted else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the number as it was."""
        self._acted_at = int(state["acted_at"])
        if state["value"] is not None:
            write(self._model, self.attribute, state["value"])

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings; a LightningModule is told again."""
        return {**self.__dict__, "_model": self._of}


def is_worse(alert: Alert) -> bool:
    """Whether a latent's level has risen: neither a recovery nor an explosion."""
    return alert.kind == "collapse" and alert.level > alert.previous


class LowerBeta(Remedy):
    """Multiplies beta, the weight of the KL, by a factor below 1.

    Args:
        attribute, of: see :class:`Remedy`.
        factor: between 0 and 1.
        least: beta is not set below it.

    Raises:
        TypeError, ValueError: a number out of its range.
    """

    def __init__(
        self, attribute: str = "beta", factor: float = 0.5, least: float = 0.0, of: object = None
    ) -> None:
        require_number("LowerBeta: factor", factor, most=1.0)
        require_number("LowerBeta: least", least)
        self._factor, self._least = factor, least
        super().__init__(attribute, of)

    def changed(self, value: float, step: int) -> float:
        """``factor`` times beta."""
        return min(value, max(value * self._factor, self._least))


class RaiseFreeBits(Remedy):
    """Raises free bits, the KL below which the loss does not push.

    Args:
        attribute, of: see :class:`Remedy`.
        by: what is added, in the model's own unit.
        most: they are not raised beyond it.

    Raises:
        TypeError, ValueError: a number out of its range.
    """

    def __init__(
        self, attribute: str = "free_bits", by: float = 0.1, most: float = 1.0, of: object = None
    ) -> None:
        require_number("RaiseFreeBits: by", by)
        require_number("RaiseFreeBits: most", most)
        self._by, self._most = by, most
        super().__init__(attribute, of)

    def changed(self, value: float, step: int) -> float:
        """Free bits and ``by``."""
        return max(value, min(value + self._by, self._most))


class RestartWarmUp(Remedy):
    """Lets the warm-up of beta begin again.

    Args:
        attribute, of: see :class:`Remedy`. The step at which the warm-up began, or a counter.
        to: what a counter is set to, 0; None: the step of the alert.

    Raises:
        TypeError, ValueError: a number out of its range.
    """

    def __init__(self, attribute: str, to: int | None = None, of: object = None) -> None:
        if to is not None:
            require_number("RestartWarmUp: to", to)
        self._to = to
        super().__init__(attribute, of)

    def changed(self, value: float, step: int) -> float:
        """The alert's step, or ``to``."""
        return step if self._to is None else self._to
