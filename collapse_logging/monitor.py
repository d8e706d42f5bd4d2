"""The monitor: the one object that holds window, transfer, judge, writers and responses."""

from __future__ import annotations

import logging
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from .arguments import require_count
from .by_level import answers, checked_by_level
from .capture import Capture, Latents
from .delivery import Delivery
from .family import Family
from .handshake import world
from .losses import check_scalars
from .own_measures import Measure, OwnMeasures
from .priors import PriorLike
from .probe import Loss, Probe
from .report import Report
from .responses import Response
from .rules import Rules, overrides, resolve_rules
from .schedule import Frequency, checked_frequency
from .termination import Termination, closed
from .verdict import Judge
from .window import Window
from .writers import Writer, complete

_STATE_VERSION = 5
_log = logging.getLogger("collapse_logging")


class CollapseMonitor:
    """Watches latents during training and reports, every ``check_frequency`` steps.

    It never waits for the device, and changes no parameter, random number or mode.

    Args:
        writers: where reports go; a ledger and a log writer (``verbose``) are added.
        responses: called with each alert; on_yellow, on_orange, on_red: when it gets so bad.
        rules: ``"default"``, ``"fast"``, ``"manual"`` or :class:`Rules`; those after it override.
        optional: latents whose level is shown, but ignored by the run's and by responses.
        measures: functions of a latent's window; their names become tags, see docs/own/measure.md.
        probe: takes the batch given to :meth:`step`, gives each sample's loss; see :class:`Probe`.
        language: of alerts, ``"en"`` or ``"zh"``; None: the environment's, else English.
        observe_every: every which step is observed; None: as :class:`~.budget.Budget` chooses.
        max_rows: rows of a batch that are read at most (the budget may need fewer); None: all.
        log_dir: folder of the ledger; None: that of the first writer that has one.
        verbose: also tell the ``logging`` module.
        strict: raise what a writer or a response raises, for tests and CI.
        across_ranks: judge what all ranks see together; False, for uneven steps: each its own.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        writers: Sequence[Writer] = (),
        responses: Sequence[Response] = (),
        rules: str | Rules = "default",
        *,
        kl_threshold: float | None = None,
        var_threshold: float | None = None,
        active_units_threshold: float | None = None,
        window_size: int | None = None,
        check_frequency: Frequency | None = None,
        early_stop_patience: int | None = None,
        on_yellow: Response | None = None,
        on_orange: Response | None = None,
        on_red: Response | None = None,
        optional: Sequence[str] = (),
        measures: Sequence[Measure] = (),
        probe: Loss | None = None,
        language: str | None = None,
        observe_every: int | None = None,
        max_rows: int | None = 1024,
        log_dir: str | Path | None = None,
        verbose: bool = True,
        strict: bool = False,
        across_ranks: bool = True,
    ) -> None:
        self.rules = resolve_rules(rules, overrides(locals()))
        judge = Judge(self.rules, optional, language, OwnMeasures(measures, strict))
        called = answers(responses, checked_by_level(on_yellow, on_orange, on_red))
        kept = complete(writers, log_dir, verbose)
        self._delivery = Delivery(judge, kept, called, strict, across_ranks)
        self._window = Window(self.rules.check_frequency, observe_every, max_rows)
        self._probe = None if probe is None else Probe(probe, strict)
        self._capture: Capture | None = None
        self._termination = Termination()
        self._step = self._skips = 0
        self._afresh = self.state_dict()

    @property
    def report(self) -> Report | None:
        """The latest report."""
        return self._delivery.report

    @property
    def check_frequency(self) -> int:
        """Training steps from one check to the next; may be set in training, on all ranks."""
        return self._window.frequency

    @check_frequency.setter
    def check_frequency(self, steps: Frequency) -> None:
        self._window.follow(checked_frequency(steps), self._step)
        self._skips = 0

    @property
    def observes(self) -> bool:
        """Whether this step is observed; else nothing of it is looked at."""
        return self._window.observes

    def observe(
        self,
        name: str,
        mean: Tensor | Distribution | Family,
        log_variance: Tensor | None = None,
        *,
        prior: PriorLike = None,
        mask: Tensor | None = None,
    ) -> None:
        """Take one batch's posterior of one latent; call it in the training step, before backward.

        Args:
            name: the latent's name, e.g. ``"z"``; it appears in the tags.
            mean: ``[batch, units]``, ``[batch, positions, units]`` or ``[batch, channels, height,
                width]``; or a distribution (docs/families.md); or a :class:`Family`.
            log_variance: ln sigma^2, the same shape.
            prior: as the posterior, for all samples or for each; None: N(0, 1), or uniform.
            mask: True where a sample is real, ``[batch]`` or ``[batch, positions]``.

        Raises:
            TypeError, ValueError: not a posterior, with expected, got and how to mend.
        """
        if not self._skips:
            self._window.observe(name, mean, log_variance, mask, prior)

    def watch(self, model: nn.Module, latents: Latents = None) -> CollapseMonitor:
        """Observe a model's latents through forward hooks instead of calling :meth:`observe`.

        Args:
            model: the model; its code is not changed.
            latents: module path, list, mapping name -> path, None or "auto"; see :class:`.Capture`.

        Raises:
            ValueError: a path that no module has, with the candidates.
        """
        before, window = self._capture, self._window
        self._capture = Capture(model, latents, window.take, window.grow, lambda: window.observes)
        if before is not None:
            before.remove()
        return self

    def settle(self) -> None:
        """Decide what ``watch(model)`` found, or raise; optional, between forward and backward."""
        if self._capture is not None and self.observes:
            self._capture.settle()

    def step(
        self,
        *,
        reconstruction_loss: Tensor | float | None = None,
        step: int | None = None,
        beta: Tensor | float | None = None,
        batch: Any = None,
    ) -> Report | None:
        """Close an optimiser step; gives the report if a check has come to the host, else None.

        Args:
            reconstruction_loss: this step's, a scalar; it is not waited for.
            step: the training step on the trackers' axis; None counts from 1.
            beta: weight of the KL at this step, a scalar; alerts then say how far to lower it.
            batch: this step's batch, for ``probe``.

        Raises:
            TypeError, ValueError: a loss that is not a scalar, a step that is not a count.
        """
        if self._skips:  # this is most steps, and all that they cost
            self._skips -= 1
            self._window.steps += 1
            self._step = self._step + 1 if step is None else operator.index(step)
            return None
        window, delivery = self._window, self._delivery
        with window.budget:
            check_scalars(reconstruction_loss=reconstruction_loss, beta=beta)
            if step is not None:
                require_count("step", step, at_least=0)
            self.settle()
            ranks = delivery.meet(window, self._step)
            self._step = self._step + 1 if step is None else operator.index(step)
            ranks.guard(window, window.end_step, reconstruction_loss, beta)
            checks = window.full
            rows = 0 if window.budget.chosen else window.latents.rows
            if checks:
                if self._probe and delivery.judge.wants_probe:
                    window.probed = self._probe.ask(self._capture, batch)
                delivery.send(window, self._step)
            report = None if delivery.idle else delivery.arrived()
        window.budget.end_step(checks or report is not None, rows, window.frequency)
        self._skips = window.unobserved if delivery.idle else 0
        return report

    def flush(self) -> Report | None:
        """Check what is left over (not on several ranks), and return the latest report."""
        return self._delivery.flush(self._window, self._step)

    def close(self) -> None:
        """Deliver what is pending, take the hooks off, close the writers and forget them."""
        if self._capture is not None:
            self._capture.remove()
        with self._delivery.closing():
            self.flush()

    def __enter__(self) -> CollapseMonitor:
        """The monitor itself; SIGTERM ends the block as an exit, unless somebody handles it."""
        self._termination.listen()
        return self

    def __exit__(self, *raised: object) -> None:
        """Close; an exception of the user's passes through as it is."""
        if raised[1] is not None:
            self._delivery.ranks.leave()
        closed(self.close, raised[1])
        self._termination.stop()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, loadable with ``weights_only=True``."""
        delivered = self._delivery.state_dict()  # first: what it delivers may end with a save
        about = {"version": _STATE_VERSION, "step": self._step, "rank": world()[0]}
        return {**about, "window": self._window.state_dict(), **delivered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; what is no such state is left aside with a warning."""
        for saved in (state, self._afresh):
            try:
                if saved["version"] != _STATE_VERSION:
                    raise ValueError(f"expected version {_STATE_VERSION}, got another version.")
                self._step, self._skips = int(saved["step"]), 0
                self._window.load_state_dict(saved["window"], saved["rank"], self._step)
                self._delivery.load_state_dict(saved, self._step)
                return
            except Exception as error:  # whatever a file may hold
                _log.warning("the saved detector state is left aside, it starts afresh: %s", error)
