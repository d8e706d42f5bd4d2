"""What is read from a Lightning Trainer, and what it is given; imports no Lightning."""

from __future__ import annotations

import difflib
import logging
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .by_level import remedies
from .monitor import CollapseMonitor
from .report import Report
from .responses import CheckResponse, KeepLastHealthy, StopWhenCollapsed
from .writers import (
    LoggerWriter,
    LogWriter,
    MlflowWriter,
    TensorBoardWriter,
    TrackioWriter,
    WandbWriter,
    Writer,
)

if TYPE_CHECKING:
    from .lightning import PosteriorCollapseDetector

RECONSTRUCTION_KEYS = ("train_recon", "recon_loss", "reconstruction_loss")
"""Logged metrics that are taken for the reconstruction loss, the first that is there."""

_log = logging.getLogger("collapse_logging")


def monitor_for(
    detector: PosteriorCollapseDetector, trainer: Any, module: nn.Module
) -> CollapseMonitor:
    """The detector's monitor, with the Trainer's loggers as its writers.

    Under ``fast_dev_run`` hooks and errors are as ever, but nothing leaves it.
    """
    dry = bool(trainer.fast_dev_run)
    speaks = trainer.is_global_zero and not dry
    folder = None if dry else run_folder(trainer, detector)
    kept_in = folder if detector.auto_save_on_collapse else None
    patience = detector.rules.early_stop_patience if detector.stop_on_collapse else None
    own = own_responses(trainer, kept_in, patience, detector.verbose)
    by_level = {} if dry else detector.by_level
    for remedy in remedies(detector.responses, detector.by_level):
        remedy.bind(module)
    writers = [*logger_writers(trainer.loggers, detector.name), *detector.writers] if speaks else []
    if speaks and detector.verbose and not any(isinstance(w, LogWriter) for w in writers):
        boards = (w.log_dir for w in writers if isinstance(w, TensorBoardWriter))
        writers.append(LogWriter(log_dir=next(boards, None), prefix=detector.name))
    return CollapseMonitor(
        writers=writers,
        responses=[] if dry else [*own, *detector.responses],
        rules=detector.rules,
        check_frequency=detector.frequency,
        optional=detector.optional,
        measures=detector.measures,
        probe=find_probe(module, detector.probe),
        language=detector.language,
        observe_every=detector.observe_every,
        max_rows=detector.max_rows,
        log_dir=folder if speaks else None,
        verbose=detector.verbose and speaks,
        on_yellow=by_level.get("on_yellow"),
        on_orange=by_level.get("on_orange"),
        on_red=by_level.get("on_red"),
    )


def logger_writers(loggers: list[Any], prefix: str) -> list[Writer]:
    """A writer for each logger, recognised by its experiment and not by its class."""
    writers: list[Writer] = []
    for logger in loggers:
        experiment = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_scalar") and hasattr(experiment, "add_histogram_raw"):
            writers.append(TensorBoardWriter(experiment, prefix=prefix))
        elif hasattr(experiment, "define_metric") and hasattr(experiment, "alert"):
            writers.append(
                WandbWriter(experiment, step_metric="trainer/global_step", prefix=prefix)
            )
        elif hasattr(experiment, "log_system") and hasattr(experiment, "alert"):
            writers.append(TrackioWriter(experiment, prefix=prefix))
        elif hasattr(experiment, "log_batch") and hasattr(logger, "run_id"):
            writers.append(MlflowWriter(logger.run_id, experiment, prefix=prefix))
        else:
            writers.append(LoggerWriter(logger, prefix=prefix))
    return writers


def own_responses(
    trainer: Any, folder: Path | None, patience: int | None, verbose: bool = True
) -> list[CheckResponse]:
    """Keep checkpoints in ``folder``, stop after ``patience`` red checks; None: not wanted."""

    def save(path: Path) -> None:
        try:
            trainer.save_checkpoint(path, weights_only=False)
        except Exception:
            trainer.strategy.barrier()  # at its end, where the other ranks wait
            raise

    def stop(message: str) -> None:
        trainer.should_stop = True

    found: list[CheckResponse] = []
    if folder is not None:
        owner = trainer.is_global_zero
        found.append(KeepLastHealthy(save, folder, owner=owner, verbose=verbose))
    if patience is not None:
        found.append(StopWhenCollapsed(stop, patience))
    for response in found:
        response.needs_all_ranks = trainer.world_size > 1
    return found


def run_folder(trainer: Any, detector: PosteriorCollapseDetector) -> Path:
    """Where its files go: ``log_dir``, or a folder of the detector's name beside the curves.

    Detectors that share a ``log_dir`` have a folder each in it, by their names.
    """
    log_dir, name = detector.log_dir, detector.name
    if log_dir is not None:
        kind = type(detector)
        sharing = [c for c in trainer.callbacks if isinstance(c, kind) and c.log_dir == log_dir]
        return Path(log_dir) / name if len(sharing) > 1 else Path(log_dir)
    folders = (getattr(logger, "log_dir", None) for logger in trainer.loggers)
    own = next((folder for folder in folders if folder), None)
    return Path(own) / name if own else Path(trainer.default_root_dir) / f"{name}_logs"


def tracker_step(trainer: Any) -> int:
    """The x-axis of Lightning's own curves; ``global_step`` counts each optimiser's step."""
    loop = trainer.fit_loop.epoch_loop
    return int(getattr(loop, "_batches_that_stepped", trainer.global_step))


def logged_loss(trainer: Any, outputs: Any, key: str | None) -> Tensor | None:
    """This step's reconstruction loss, as the model logged or returned it."""
    return _logged(trainer, outputs, (key,) if key else RECONSTRUCTION_KEYS)


def current_beta(
    trainer: Any, beta: float | str | typing.Callable[[int], float] | None
) -> Tensor | float | None:
    """The weight of the KL at this step: as given, called with the step, or as logged."""
    if isinstance(beta, str):
        return _logged(trainer, None, (beta,))
    return beta(tracker_step(trainer)) if callable(beta) else beta


def _logged(trainer: Any, outputs: Any, names: Sequence[str]) -> Tensor | None:
    """The first of the names that this step logged or returned; nothing is waited for.

    Lightning has no public way to a step's logged value that does not compute all metrics.
    """
    results = getattr(trainer.fit_loop.epoch_loop, "_results", None) or {}
    for name in names:
        if isinstance(outputs, Mapping) and isinstance(outputs.get(name), Tensor):
            return typing.cast(Tensor, outputs[name]).detach().float().mean()  # may be by sample
        result = results.get(f"training_step.{name}")
        if result is None or not getattr(result, "is_tensor", False):
            continue
        if result.meta.on_step:
            return typing.cast(Tensor, result._forward_cache)
        if result.meta.is_mean_reduction:  # on_epoch alone: the epoch's mean so far
            return typing.cast(Tensor, result.value / result.cumulated_batch_size)
    return None


def find_probe(
    module: nn.Module, probe: str | typing.Callable[[Any], Tensor] | None
) -> typing.Callable[[Any], Tensor] | None:
    """The probe itself, or the module's method of that name.

    Raises:
        ValueError: the module has no such method.
    """
    if not isinstance(probe, str):
        return probe
    found = getattr(module, probe, None)
    if not callable(found):
        near = difflib.get_close_matches(probe, dir(module), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"probe: expected the name of a method of {type(module).__name__} that takes a batch "
            f"and gives the loss of each sample, got {probe!r}.{hint}"
        )
    return typing.cast("typing.Callable[[Any], Tensor]", found)


def publish(trainer: Any, report: Report, prefix: str) -> None:
    """Let EarlyStopping and ModelCheckpoint monitor the scalars."""
    values = {tag: torch.tensor(value) for tag, value in report.scalars(prefix).items()}
    trainer.callback_metrics.update(values)
