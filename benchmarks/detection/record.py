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
from collapse_logging.verdict import Judge
from collapse_logging.window import Layout

from . import truth
from .cases import Case
from .families import HeldOut, Run, Step, build
from .families.linear import Linear, active_in_closed_form

CACHE = Path(__file__).parent / ".cache"
PACES = ("default", "fast")
BASELINE_EVERY = 50


class RecordingJudge(Judge):
    """A judge that keeps each window before it judges it."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge.rules)
        self.windows: list[tuple[int, int, Any]] = []
        self.levels: list[int] = []
        self.layout: Layout | None = None

    def report(self, vector: Tensor, layout: Layout, step: int, steps: int) -> Report:
        """Keep, then judge."""
        self.layout = layout
        self.windows.append((step, steps, vector.numpy().copy()))
        report = super().report(vector, layout, step, steps)
        self.levels.append(int(report.level))
        return report


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
    monitors = {pace: CollapseMonitor(rules=pace, verbose=False) for pace in PACES}
    judges = {pace: RecordingJudge(monitor._judge) for pace, monitor in monitors.items()}
    for pace, monitor in monitors.items():
        monitor._judge = judges[pace]
    arrays, about = _train(case, run, monitors)
    for pace, judge in judges.items():
        arrays[f"{pace}/checks"] = np.array([w[:2] for w in judge.windows])
        arrays[f"{pace}/vectors"] = np.stack([w[2] for w in judge.windows])
        arrays[f"{pace}/levels"] = np.array(judge.levels)
        assert judge.layout is not None
        shapes = {name: list(shape) for name, shape in judge.layout.latents.items()}
        about[f"{pace}/layout"] = {"latents": shapes, "losses": judge.layout.losses}
    about["seconds"] = time.perf_counter() - began
    _write(case, arrays, about)
    return float(about["seconds"])


def _train(
    case: Case, run: Run, monitors: dict[str, CollapseMonitor]
) -> tuple[dict[str, Any], dict[str, Any]]:
    streams, truths = Streams(), {name: [] for name in case["latents"]}
    probes: dict[str, list[Any]] = {pace: [] for pace in PACES}
    evaluated = list(range(0, case.steps + 1, truth.EVALUATE_EVERY))
    _evaluate(run, truths)

    def observe(name: str, mean: Tensor, log_variance: Tensor) -> None:
        for monitor in monitors.values():
            monitor.observe(name, mean, log_variance)

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
