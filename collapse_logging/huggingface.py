"""The monitor as a callback of Hugging Face Transformers' ``Trainer``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .capture import Latents
from .monitor import CollapseMonitor
from .report import Report
from .responses import StopWhenCollapsed
from .writers import MlflowWriter, TensorBoardWriter, TrackioWriter, WandbWriter, Writer

if TYPE_CHECKING:

    class TrainerCallback:
        """As Transformers has it; type checkers need not have Transformers."""

else:
    from transformers import TrainerCallback

_log = logging.getLogger("collapse_logging")


class CollapseCallback(TrainerCallback):
    """Tells, in what the Trainer's ``report_to`` has, that a latent is collapsing.

    TensorBoard, W&B, MLflow and Trackio get scalars, histograms and alerts. The ledger is in
    ``<output_dir>/collapse``.

    Args:
        latents: as for :meth:`.CollapseMonitor.watch`.
        stop_on_collapse: red checks in a row after which the training is stopped; None: never.
        settings: further arguments of :class:`.CollapseMonitor`, e.g. ``rules="fast"``.

    Attributes:
        monitor: None before training starts.
    """

    def __init__(
        self, latents: Latents = None, *, stop_on_collapse: int | None = None, **settings: Any
    ) -> None:
        self.monitor: CollapseMonitor | None = None
        self._latents = latents
        self._patience = stop_on_collapse
        self._settings = settings
        self._stopped = False

    @property
    def report(self) -> Report | None:
        """The latest report."""
        return None if self.monitor is None else self.monitor.report

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Build the monitor on what ``report_to`` has, and hook the model."""
        settings, speaks = dict(self._settings), bool(state.is_world_process_zero)
        writers = [*(reporting(args) if speaks else []), *settings.pop("writers", ())]
        responses = list(settings.pop("responses", ()))
        if self._patience is not None:
            responses.append(StopWhenCollapsed(self._stop, self._patience))
        if speaks:
            settings.setdefault("log_dir", Path(args.output_dir) / "collapse")
        self._stopped = False
        self.monitor = CollapseMonitor(writers=writers, responses=responses, **settings)
        self.monitor.watch(model, self._latents)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the step, however many micro-batches it had."""
        if self.monitor is not None:
            self.monitor.step(step=state.global_step)
            control.should_training_stop = control.should_training_stop or self._stopped

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Check what is left and close the writers."""
        if self.monitor is not None:
            self.monitor.close()

    def _stop(self, message: str) -> None:
        self._stopped = True


def reporting(args: Any) -> list[Writer]:
    """A writer for each tracker that ``report_to`` names and that is running."""
    found: list[Writer] = []
    for name in args.report_to:
        if name == "tensorboard":
            found.append(TensorBoardWriter(_event_folder(args)))
        elif name == "wandb":
            found.append(WandbWriter(sys.modules["wandb"].run, step_metric="train/global_step"))
        elif name == "mlflow":
            found.append(MlflowWriter())
        elif name == "trackio":
            found.append(TrackioWriter(sys.modules["trackio"].context_vars.current_run.get()))
        else:
            _log.warning("report_to=%r: no writer is known for it; the ledger has all.", name)
    return found


def _event_folder(args: Any) -> str | Path:
    """Where the Trainer's own curves are: their writer was opened just before."""
    said = os.environ.get("TENSORBOARD_LOGGING_DIR")
    if said:
        return Path(said).expanduser()
    runs = [path for path in (Path(args.output_dir) / "runs").glob("*") if path.is_dir()]
    return max(runs, key=lambda path: path.stat().st_mtime_ns, default=Path(args.output_dir))
