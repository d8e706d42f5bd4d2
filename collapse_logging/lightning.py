"""The monitor as a Lightning callback, for ``pytorch_lightning`` and ``lightning.pytorch``."""

from __future__ import annotations

import logging
import typing
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .arguments import checked_count, checked_list, checked_name
from .by_level import checked_by_level
from .messages import NO_PLOT, verdict
from .monitor import CollapseMonitor
from .namespaces import callback_base
from .own_measures import OwnMeasures
from .paths import AUTO, name_paths
from .report import Alert, Report
from .rules import Rules, overrides, resolve_rules
from .schedule import Frequency, checked_frequency, steps_of_window
from .trainer import (
    current_beta,
    logged_loss,
    monitor_for,
    publish,
    tracker_step,
)
from .words import known_language
from .writers import Writer
from .writers.log import speaker

_log = logging.getLogger("collapse_logging")

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_base()


class PosteriorCollapseDetector(_Callback):
    """Tells, in the trackers that the Trainer already has, that a latent is collapsing.

    Args:
        kl_threshold: nats; a total KL below it is an indicator. None: the preset's (0.01).
        var_threshold: a mean posterior variance within it of the prior's 1 is one. None: 0.1.
        active_units_threshold: a smaller share of active units is one. None: 0.1.
        window_size: steps over which the reconstruction trend is read. None: 100.
        check_frequency: optimiser steps from one check to the next. None: 50.
        early_stop_patience: red checks in a row before ``stop_on_collapse`` stops. None: 200.
        auto_save_on_collapse: keep the last healthy checkpoint, and save the state at the alarm.
        log_dir: folder of ledger and checkpoints; None: ``collapse/`` in the logger's folder.
        plot_frequency: accepted for the manual's sake; no plot is drawn while training.
        verbose: alerts and the verdict through the ``logging`` module.
        latents: module path, list of paths, mapping name -> path, or ``"auto"``; None: the model's
            ``_last_z_list``, or the one module that gives a posterior; see :class:`.Capture`.
        rules: ``"default"``, ``"fast"``, ``"manual"`` or a :class:`Rules`.
        writers: further writers, beside the Trainer's loggers.
        responses: called with each alert.
        on_yellow, on_orange, on_red: called with an alert of a latent that gets worse, to there.
        stop_on_collapse: stop after ``early_stop_patience`` red checks in a row.
        reconstruction_key: name under which the reconstruction loss is logged; None: the first
            of ``train_recon``, ``recon_loss``, ``reconstruction_loss``.
        optional: latents whose level is shown, but ignored by the run's and by responses.
        beta: weight of the KL: a number, a callable of the step, or the name under which it is
            logged. Then alerts say how far to lower it, and a beta just lowered is given time.
        probe: takes a batch and gives each sample's reconstruction loss through the model; or the
            name of the module's method that does. Then the decoder is asked whether it uses z.
        language: of alerts and verdict, ``"en"`` or ``"zh"``; None: the environment's.
        measures, observe_every, max_rows: see :class:`CollapseMonitor`.
        name: first part of every tag; two detectors on one Trainer need two names.

    Raises:
        TypeError, ValueError: a wrong argument; when training starts, a path that no module has.
    """

    def __init__(
        self,
        kl_threshold: float | None = None,
        var_threshold: float | None = None,
        active_units_threshold: float | None = None,
        window_size: int | None = None,
        check_frequency: int | dict[int, int] | None = None,
        early_stop_patience: int | None = None,
        auto_save_on_collapse: bool = True,
        log_dir: str | None = None,
        plot_frequency: int | None = None,
        verbose: bool = True,
        latents: str | list[str] | dict[str, str] | None = None,
        rules: str | Rules = "default",
        writers: list[Writer] | None = None,
        responses: list[typing.Callable[[Alert], None]] | None = None,
        on_yellow: typing.Callable[[Alert], None] | None = None,
        on_orange: typing.Callable[[Alert], None] | None = None,
        on_red: typing.Callable[[Alert], None] | None = None,
        stop_on_collapse: bool = False,
        reconstruction_key: str | None = None,
        optional: list[str] | None = None,
        beta: float | str | typing.Callable[[int], float] | None = None,
        measures: list[typing.Callable[[typing.Any], typing.Any]] | None = None,
        probe: str | typing.Callable[[typing.Any], Tensor] | None = None,
        language: str | None = None,
        observe_every: int | None = None,
        max_rows: int | None = 1024,
        name: str = "collapse",
    ) -> None:
        self.rules = resolve_rules(rules, overrides(locals()))
        self.auto_save_on_collapse = auto_save_on_collapse
        self.log_dir = log_dir
        self.verbose = verbose
        self.latents = latents if latents in (None, AUTO) else name_paths(latents)
        self.stop_on_collapse = stop_on_collapse
        self.reconstruction_key = reconstruction_key
        self.optional = list(optional or [])
        self.beta = beta
        self.probe = probe
        self.measures = OwnMeasures(measures or []).given
        self.language = known_language(language)
        self.observe_every = checked_count("observe_every", observe_every)
        self.max_rows = checked_count("max_rows", max_rows)
        self.name = checked_name("name", name)
        self.monitor: CollapseMonitor | None = None
        self.frequency = self.rules.check_frequency
        self.writers = list(checked_list(writers or [], "writers", lambda w: isinstance(w, Writer)))
        self.responses = list(checked_list(responses or [], "responses", callable))
        self.by_level = checked_by_level(on_yellow, on_orange, on_red)
        self._state: dict[str, Any] | None = None
        self._earlier: dict[str, Any] = {}
        self._speaks = False
        self._global_step = -1
        if plot_frequency is not None:
            _log.warning(NO_PLOT, plot_frequency)

    @property
    def state_key(self) -> str:
        """One entry a name in the checkpoint."""
        return f"PosteriorCollapseDetector[{self.name}]"

    @property
    def report(self) -> Report | None:
        """The latest report."""
        return None if self.monitor is None else self.monitor.report

    @property
    def check_frequency(self) -> int:
        """Optimiser steps from one check to the next; may be set during training."""
        if self.monitor is not None:
            return self.monitor.check_frequency
        return steps_of_window(self.frequency, after=0)

    @check_frequency.setter
    def check_frequency(self, steps: Frequency) -> None:
        self.frequency = checked_frequency(steps)
        if self.monitor is not None:
            self.monitor.check_frequency = self.frequency

    def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Build the monitor around the Trainer's loggers and hook the model."""
        self._earlier = self.state_dict() or self._earlier
        self._speaks = trainer.is_global_zero and not trainer.fast_dev_run
        self.monitor = monitor_for(self, trainer, pl_module)
        self.monitor.watch(pl_module, self.latents)

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Continue from the checkpoint, or from this Trainer's last fit.

        Only now: some strategies restore after ``on_fit_start``, and all of them ``global_step``.
        """
        state = self._state or (self._earlier if trainer.global_step else None)
        if state and self.monitor is not None:
            self.monitor.load_state_dict(state)
        self._state, self._earlier = None, {}
        self._global_step = trainer.global_step

    def on_before_backward(self, trainer: Any, pl_module: nn.Module, loss: Tensor) -> None:
        """Read ``_last_z_list``, or decide which module gives the posterior."""
        if self.monitor is not None:
            self.monitor.settle()

    def on_train_batch_end(
        self, trainer: Any, pl_module: nn.Module, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Close the step, if the optimiser stepped; a micro-batch only adds to it."""
        if self.monitor is None or trainer.global_step == self._global_step:
            return
        self._global_step = trainer.global_step
        told: dict[str, Any] = {}
        if self.monitor.observes:
            told["reconstruction_loss"] = logged_loss(trainer, outputs, self.reconstruction_key)
            told["beta"] = current_beta(trainer, self.beta)
        report = self.monitor.step(step=tracker_step(trainer), batch=batch, **told)
        if report is not None:
            publish(trainer, report, self.name)

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Check what is left, say the verdict, close the writers."""
        if self.monitor is None:
            return
        if (report := self.monitor.flush()) is not None:
            publish(trainer, report, self.name)
            if self.verbose and self._speaks:
                _log.warning("%s%s", speaker(self.name), verdict(report, self.language))
        self.monitor.close()

    def on_fit_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Close, also where there was nothing to train and ``on_train_end`` never came."""
        if self.monitor is not None:
            self.monitor.close()

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
        """Close the writers; the exception goes its way, whatever closing raises."""
        if self.monitor is not None:
            self.monitor.__exit__(type(exception), exception, exception.__traceback__)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, loadable with ``weights_only=True``."""
        if self._state is not None or self.monitor is None:
            return self._state or {}
        return self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it for the start of training, when the monitor is built."""
        self._state = state_dict or None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings; the monitor holds hooks and open files and is built again."""
        of_the_model = ("log", "log_dict")  # Lightning puts them on every callback
        own = {key: v for key, v in self.__dict__.items() if key not in of_the_model}
        return {**own, "monitor": None, "_earlier": self.state_dict()}
