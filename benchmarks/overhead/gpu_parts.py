"""The parts of the GPU script; each takes the device, so that its code also runs without one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from collapse_logging import CollapseMonitor
from collapse_logging.report import Report
from collapse_logging.writers import MemoryWriter

from .blocks import Stopwatch
from .counts import EVERY_STEP, live_bytes
from .grid import BLOCK, in_turns
from .training import Size, Training
from .watchers import Nobody, Ours, Posteriors, Watcher

Compile = dict[str, Any] | None
"""How the model is compiled, as arguments of torch.compile; None: it is not."""


def ours(**settings: Any) -> Ours:
    """A monitor that observes every step and all rows."""
    return Ours(CollapseMonitor(verbose=False, **(EVERY_STEP | settings)))


def prepared(size: Size, device: str, how: Compile = None) -> Training:
    """A training on the device, compiled or not, after its first steps."""
    training = Training(size, device)
    if how is not None:
        torch.compiler.reset()
        training.forward = torch.compile(training.model, **how)
    training.block(Nobody(), 5)
    return training


@contextlib.contextmanager
def no_wait(device: str) -> Iterator[None]:
    """CUDA raises whatever waits for it within; elsewhere nothing is watched."""
    if not device.startswith("cuda"):
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Strict(Watcher):
    """Ours, with any wait for the device an error; around our own calls only."""

    def __init__(self, watcher: Ours, device: str) -> None:
        self._watcher = watcher
        self._device = device

    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """As ours."""
        with no_wait(self._device):
            self._watcher.observe(posteriors, reconstruction)

    def step(self) -> None:
        """As ours."""
        with no_wait(self._device):
            self._watcher.step()


class Item(Watcher):
    """Reads the mean KL on the host each step."""

    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """One ``.item()``."""
        with torch.no_grad():
            kls = [m.square() + v.exp() - 1.0 - v for m, v in posteriors.values()]
            sum(0.5 * kl.sum(1).mean() for kl in kls).item()  # type: ignore[union-attr]

    def step(self) -> None:
        """Nothing."""


def profiled(training: Training, watcher: Watcher, steps: int, device: str) -> list[Any]:
    """Each operator, each call of the driver and each kernel of so many steps."""
    kinds = [ProfilerActivity.CPU]
    kinds += [ProfilerActivity.CUDA] if device.startswith("cuda") else []
    with profile(activities=kinds, acc_events=True) as found:
        for _ in range(steps):
            training.step(watcher, Stopwatch())
        training.wait()
    # key_averages builds a tree of all events first: minutes for what is only counted here
    assert found.profiler is not None
    assert found.profiler.kineto_results is not None
    return list(found.profiler.kineto_results.events())


def waits(size: Size, device: str, steps: int) -> int:
    """(a) Synchronisations that watching adds to so many steps, checks included.

    Raises:
        RuntimeError: our own calls waited, says CUDA.
    """
    counted = []
    for watcher in (Nobody(), Strict(ours(), device)):
        training = prepared(size, device)
        training.block(watcher, 2 * BLOCK)
        events = profiled(training, watcher, steps, device)
        counted.append(sum("Synchronize" in event.name() for event in events))
    return counted[1] - counted[0]


def launches(
    size: Size, device: str, how: Compile = None, steps: int = BLOCK
) -> dict[str, tuple[float, float]]:
    """(b) Without and with the monitor, a step that is no check.

    Returns:
        ``launches``: kernels and graphs; ``seconds``: what the kernels took on the device.
    """
    counted, seconds = [], []
    for watcher in (Nobody(), ours(check_frequency=100 * steps)):
        training = prepared(size, device, how)
        training.block(watcher, 2)
        events = profiled(training, watcher, steps, device)
        counted.append(sum("Launch" in event.name() for event in events) / steps)
        kernels = [e for e in events if e.device_type() == DeviceType.CUDA]
        took = sum(event.duration_ns() for event in kernels if not event.is_user_annotation())
        seconds.append(1e-9 * took / steps)
    return {"launches": (counted[0], counted[1]), "seconds": (seconds[0], seconds[1])}


def in_turns_on(size: Size, device: str, how: Compile, rounds: int) -> dict[str, list[list[float]]]:
    """(c), (d) Blocks without anything, a control, ours, and one ``.item()`` a step."""
    arms = {"without": Nobody(), "control": Nobody(), "ours": ours(), "item": Item()}
    figures = in_turns(prepared(size, device, how), arms, rounds)
    arms["ours"].close()
    return figures


def walls(figures: list[list[float]]) -> np.ndarray:
    """Wall time of each round, ``[rounds]``."""
    return np.array(figures)[:, 0]


class Kept(Ours):
    """Ours, with a copy of each posterior kept beside it."""

    def __init__(self, monitor: CollapseMonitor) -> None:
        super().__init__(monitor)
        self.copies: list[tuple[Tensor, Tensor]] = []

    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """As ours; the copies are of the first latent."""
        super().observe(posteriors, reconstruction)
        mean, log_variance = next(iter(posteriors.values()))
        self.copies.append((mean.detach().clone(), log_variance.detach().clone()))


def replays(
    size: Size, device: str, how: dict[str, Any], steps: int = 100
) -> tuple[float, float, float]:
    """(e) Samples expected and counted after so many replays, and the worst relative error."""
    memory = MemoryWriter()
    settings: dict[str, Any] = {"check_frequency": steps, "verbose": False, **EVERY_STEP}
    watcher = Kept(CollapseMonitor([memory], **settings))
    prepared(size, device, how).block(watcher, steps)
    watcher.close()
    (report,) = memory.reports
    mean, log_variance = (torch.cat(side) for side in zip(*watcher.copies, strict=True))
    error = max(errors(report, "z0", mean, log_variance).values())
    return float(steps * size.batch), report.latents["z0"].measures["samples"], error


def errors(report: Report, name: str, mean: Tensor, log_variance: Tensor) -> dict[str, float]:
    """Worst relative error over units of a report's numbers, against float64 on the host."""
    mu, lv = (side.detach().double().cpu().numpy() for side in (mean, log_variance))
    variance, posterior = mu.var(0), np.exp(lv).mean(0)
    truth = {
        "mean_variance": variance,
        "posterior_variance": posterior,
        "information": 0.5 * (np.log(variance + posterior) - lv.mean(0)),
        "kl": 0.5 * (mu**2 + np.exp(lv) - 1.0 - lv).mean(0),
    }
    found = report.latents[name].per_unit
    return {key: float(np.max(np.abs(found[key] - t) / np.abs(t))) for key, t in truth.items()}


def lags(size: Size, device: str, checks: int = 20) -> list[int]:
    """(f) Steps from a check to the step that returned its report."""
    training, found = prepared(size, device), []
    monitor = CollapseMonitor(check_frequency=10, verbose=False, **EVERY_STEP)
    watcher = Ours(monitor)
    for step in range(1, 10 * checks + 1):
        before = monitor.report
        training.step(watcher, Stopwatch())
        if monitor.report is not None and monitor.report is not before:
            found.append(step - monitor.report.step)
    watcher.close()
    return found


def bf16_errors(
    device: str, batch: int = 1024, units: int = 64, steps: int = 50
) -> dict[str, float]:
    """(g) Worst relative errors of a window of bf16 posteriors, against float64 of the same."""
    generator = torch.Generator().manual_seed(0)
    memory = MemoryWriter()
    monitor = CollapseMonitor([memory], check_frequency=steps, verbose=False, **EVERY_STEP)
    seen = []
    for _ in range(steps):
        mean = (2.0 + torch.randn(batch, units, generator=generator)).to(device, torch.bfloat16)
        log_variance = (torch.randn(batch, units, generator=generator) - 2.0).to(mean)
        monitor.observe("z", mean, log_variance)
        monitor.step()
        seen.append((mean, log_variance))
    monitor.close()
    return errors(memory.reports[0], "z", *(torch.cat(s) for s in zip(*seen, strict=True)))


def bytes_held(size: Size, device: str, steps: int) -> tuple[int, int]:
    """(h) Bytes allocated on the device after a hundred steps, and after so many more."""
    training, watcher = prepared(size, device), ours()
    training.block(watcher, 2 * BLOCK)
    before = _allocated(device)
    training.block(watcher, steps)
    after = _allocated(device)
    watcher.close()
    return before, after


def _allocated(device: str) -> int:
    return torch.cuda.memory_allocated(device) if device.startswith("cuda") else live_bytes()
