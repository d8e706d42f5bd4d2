"""Trains one case under two monitors and keeps everything that a rule could want to see.

The packed statistics of each check are kept as they come to the judge, so that any rule can be
replayed later without training again. What the baselines read is computed here from the
posteriors themselves, not from the package.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse_logging import CollapseMonitor
from collapse_logging.report import Report
from collapse_logging.snapshot import Snapshot
from collapse_logging.verdict import Judge

from . import truth
from .cases import Case
from .families import HeldOut, Run, Step, build
from .families.base import Observe
from .families.linear import Linear, active_in_closed_form

CACHE = Path(__file__).parent / ".cache"
PACES = ("default", "fast")
NOT_UPCAST = "bf16"
"""Pace of the default rule whose sums are kept in the model's own type, for the ablation."""
THINNED, OBSERVED_EVERY = "thinned", 5
"""Pace of the default rule that observes as few steps as a budget may ever choose."""
BASELINE_EVERY = 50


class RecordingJudge(Judge):
    """A judge that keeps each window before it judges it."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge.rules)
        self.windows: list[tuple[int, int, Snapshot]] = []
        self.levels: list[int] = []

    def report(self, snapshot: Snapshot, step: int, steps: int) -> Report:
        """Keep, then judge."""
        self.windows.append((step, steps, snapshot))
        report = super().report(snapshot, step, steps)
        self.levels.append(int(report.level))
        return report

    def arrays(self) -> dict[str, Any]:
        """``checks`` ``[checks, 2]``, ``levels``, ``beta``, and per latent ``[checks, size]``."""
        snapshots = [snapshot for _, _, snapshot in self.windows]
        found = {
            "checks": np.array([window[:2] for window in self.windows]),
            "levels": np.array(self.levels),
            "losses": np.array([snapshot.losses for snapshot in snapshots], np.float32),
        }
        for name in snapshots[0].latents:
            seen = [snapshot.latents[name] for snapshot in snapshots]
            found[f"{name}/sums"] = np.stack([s.statistics.pack().numpy() for s in seen])
            found[f"{name}/extras"] = np.array([list(s.extras.values()) for s in seen], np.float32)
        return found

    def shapes(self) -> dict[str, list[int]]:
        """Shape of each latent's statistics."""
        _, _, last = self.windows[-1]
        return {name: list(seen.statistics.shape) for name, seen in last.latents.items()}


class Streams:
    """Per step and latent, what a user's own loop would log; per 50 steps, what needs a window."""

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}
        self._held: dict[str, list[tuple[Any, Any]]] = {}

    def add(self, step: int, seen: Step) -> None:
        """One step's posteriors and loss."""
        self._put("reconstruction", float(seen.reconstruction))
        self._put("beta", seen.beta)
        for posteriors in seen.posteriors:
            for name, (mean, log_variance) in posteriors.items():
                self._held.setdefault(name, []).append((_rows(mean), _rows(log_variance)))
        if step % BASELINE_EVERY == 0:
            for name, held in self._held.items():
                self._close(name, held, len(seen.posteriors))
            self._held = {}

    def arrays(self) -> dict[str, Any]:
        """All streams, ``[steps]`` or ``[steps / 50]``."""
        return {name: np.asarray(values, np.float32) for name, values in self.columns.items()}

    def _close(self, name: str, held: list[tuple[Any, Any]], per_step: int) -> None:
        window_kl = []
        for start in range(0, len(held), per_step):
            mean = np.concatenate([m for m, _ in held[start : start + per_step]])
            log_variance = np.concatenate([lv for _, lv in held[start : start + per_step]])
            variance = np.exp(log_variance)
            kl = 0.5 * (mean**2 + variance - 1.0 - log_variance).mean(0)  # [cells, units]
            by_unit = kl.sum(0)
            unit_variance = variance.mean((0, 1))
            self._put(f"{name}/kl", float(by_unit.sum()))
            self._put(f"{name}/variance", float(unit_variance.mean()))
            self._put(f"{name}/share_above", float((unit_variance > 0.1).mean()))
            self._put(f"{name}/kl_units", float((by_unit > 0.1).sum()))
            window_kl.append(by_unit)
        means = np.concatenate([m for m, _ in held])
        active = means.var(0).mean(0) > 0.01
        self._put(f"{name}/window_active_share", float(active.mean()))
        self._put(f"{name}/window_kl_units", float((np.mean(window_kl, 0) > 0.1).sum()))

    def _put(self, name: str, value: float) -> None:
        self.columns.setdefault(name, []).append(value)


def _rows(tensor: Tensor) -> Any:
    """``[batch, positions, units]``, float64."""
    tensor = tensor.unsqueeze(1) if tensor.ndim == 2 else tensor.flatten(2).transpose(1, 2)
    return tensor.double().numpy()


def paths(case: Case) -> tuple[Path, Path]:
    """Where a case's record is: arrays and plain values."""
    return CACHE / f"{case.key}.npz", CACHE / f"{case.key}.json"


def is_recorded(case: Case) -> bool:
    """Whether the record is complete: the plain values are written last."""
    return paths(case)[1].exists()


def record(case: Case) -> float:
    """Train a case and write its record; gives the seconds it took."""
    torch.set_num_threads(1)
    torch.manual_seed(case.seed)
    began = time.perf_counter()
    run = build(case)
    every = {"observe_every": 1, "max_rows": None, "verbose": False}
    monitors = {pace: CollapseMonitor(rules=pace, **every) for pace in PACES}
    monitors[THINNED] = CollapseMonitor(**every | {"observe_every": OBSERVED_EVERY})
    if case["precision"] == "bf16":
        monitors[NOT_UPCAST] = CollapseMonitor(**every)
    judges = {pace: RecordingJudge(monitor._delivery.judge) for pace, monitor in monitors.items()}
    for pace, monitor in monitors.items():
        monitor._delivery.judge = judges[pace]
    arrays, about = _train(case, run, monitors)
    for pace, judge in judges.items():
        arrays |= {f"{pace}/{name}": values for name, values in judge.arrays().items()}
        about[f"{pace}/shapes"] = judge.shapes()
    about["seconds"] = time.perf_counter() - began
    _write(case, arrays, about)
    return float(about["seconds"])


def _train(
    case: Case, run: Run, monitors: dict[str, CollapseMonitor]
) -> tuple[dict[str, Any], dict[str, Any]]:
    streams, truths = Streams(), {name: [] for name in case["latents"]}
    probes: dict[str, list[Any]] = {pace: [] for pace in monitors}
    evaluated = list(range(0, case.steps + 1, truth.EVALUATE_EVERY))
    _evaluate(run, truths)

    observe = _observer(monitors)
    for step in range(1, case.steps + 1):
        seen = run.train_step(step, observe)
        streams.add(step, seen)
        for pace, monitor in monitors.items():
            if monitor.step(reconstruction_loss=seen.reconstruction) is not None:
                probes[pace].append([run.probe()[name] for name in case["latents"]])
        if step in evaluated:
            _evaluate(run, truths)
    arrays = {f"stream/{name}": values for name, values in streams.arrays().items()}
    arrays |= {f"{pace}/probes": np.array(values, np.float32) for pace, values in probes.items()}
    about: dict[str, Any] = {"case": asdict(case), "rows": len(run.held_out["x"])}
    about["truth"] = {"steps": evaluated, "latents": truths}
    if isinstance(run, Linear):
        beta = streams.columns["beta"][-1]
        arrays["unit_gaps"] = run.unit_gaps().numpy()
        about["active_in_closed_form"] = active_in_closed_form(beta, case["sigma"], case["units"])
    return arrays, about


def _observer(monitors: dict[str, CollapseMonitor]) -> Observe:
    def observe(name: str, mean: Tensor, log_variance: Tensor) -> None:
        for pace, monitor in monitors.items():
            monitor.observe(name, mean, log_variance)
            if pace == NOT_UPCAST:
                _keep_in_bf16(monitor, name)

    return observe


def _keep_in_bf16(monitor: CollapseMonitor, name: str) -> None:
    monitor._window.latents.read_by_element(name)
    statistics = monitor._window.latents.statistics(name)
    if statistics.sums.dtype != torch.bfloat16:
        statistics.sums = statistics.sums.bfloat16()


def _evaluate(run: Run, truths: dict[str, list[dict[str, float]]]) -> None:
    for name, held in run.evaluate().items():
        truths[name].append(_truth(held))


def _truth(held: HeldOut) -> dict[str, float]:
    parts = (held.mean, held.log_variance, held.loss, held.permuted)
    return asdict(truth.measure(*(part.double().numpy() for part in parts)))


def _write(case: Case, arrays: dict[str, Any], about: dict[str, Any]) -> None:
    """Each file under another name first, the plain values last: a record is whole or absent."""
    CACHE.mkdir(exist_ok=True)
    about["versions"] = {"torch": torch.__version__, "numpy": np.__version__}
    to_arrays, to_about = paths(case)
    draft = to_arrays.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(draft, **arrays)
    draft.replace(to_arrays)
    draft = to_about.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps(about))
    draft.replace(to_about)
