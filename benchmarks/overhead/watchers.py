"""Those who watch a training: nobody, ours, and what people do instead.

Each is told the posteriors of a batch before backward, and the end of the step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse_logging import CollapseMonitor

Posteriors = Mapping[str, tuple[Tensor, Tensor]]

CHECK_EVERY, PLOT_EVERY = 50, 500
"""The manual's settings."""


class Watcher(ABC):
    """Watches a training from its own calls."""

    @abstractmethod
    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """Take one batch's ``(mean, log_variance)`` by name, and its reconstruction loss."""

    @abstractmethod
    def step(self) -> None:
        """The optimiser has stepped."""

    def close(self) -> None:  # noqa: B027 - most hold nothing that is to be closed
        """Training is over."""


class Nobody(Watcher):
    """Watches nothing."""

    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""


class Ours(Watcher):
    """The monitor of this package."""

    def __init__(self, monitor: CollapseMonitor) -> None:
        self.monitor = monitor
        self._reconstruction: Tensor | None = None

    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """``monitor.observe`` of each latent."""
        for name, (mean, log_variance) in posteriors.items():
            self.monitor.observe(name, mean, log_variance)
        self._reconstruction = reconstruction

    @property
    def every(self) -> int | None:
        """Every which step is observed."""
        chosen: int | None = self.monitor.state_dict()["window"]["observe_every"]
        return chosen

    def step(self) -> None:
        """``monitor.step``."""
        self.monitor.step(reconstruction_loss=self._reconstruction)

    def close(self) -> None:
        """Close the monitor."""
        self.monitor.close()


class Manual(Watcher):
    """The manual's way: every 50 steps its statistics by ``.item()``, every 500 its figure.

    The formulas are the manual's. Between checks it does nothing at all, which the original does
    not quite manage.
    """

    def __init__(self, folder: Path) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot  # imported now: that is not to count as the first figure's

        self._pyplot = pyplot
        self._folder = folder
        self._steps = 0
        self._last: tuple[Posteriors, Tensor] | None = None
        self._history: dict[str, deque[float]] = {}

    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """Keep the batch, as ``_last_z_list`` does."""
        self._last = posteriors, reconstruction

    def step(self) -> None:
        """Statistics and figure, when due."""
        self._steps += 1
        if self._steps % CHECK_EVERY == 0:
            self._check()
        if self._steps % PLOT_EVERY == 0:
            self._plot()

    @torch.no_grad()
    def _check(self) -> None:
        assert self._last is not None
        posteriors, reconstruction = self._last
        self._note("reconstruction_loss", reconstruction.item())
        for name, (mean, log_variance) in posteriors.items():
            variance = log_variance.exp()
            kl = 0.5 * torch.sum(variance + mean.pow(2) - 1 - log_variance, dim=-1)
            self._note(f"{name}: KL divergence", kl.mean().item())
            self._note(f"{name}: variance", variance.mean().item())
            self._note(f"{name}: active ratio", (variance.mean(0) > 0.1).float().mean().item())
        losses = list(self._history["reconstruction_loss"])[-50:]
        if len(losses) >= 50:
            np.polyfit(range(50), losses, 1)

    def _note(self, name: str, value: float) -> None:
        self._history.setdefault(name, deque(maxlen=1000)).append(value)

    def _plot(self) -> None:
        figure, axes = self._pyplot.subplots(2, 2, figsize=(12, 8))
        for axis, (name, values) in zip(axes.flat, self._history.items(), strict=False):
            axis.plot(values)
            axis.set_title(name)
            axis.set_xlabel("check")
            axis.grid(True)
        figure.tight_layout()
        figure.savefig(self._folder / f"monitoring_plot_step_{self._steps}.png")
        self._pyplot.close(figure)


TEN = (
    "information",
    "kl",
    "mismatch",
    "active_units",
    "active_fraction",
    "informative_units",
    "passive_units",
    "posterior_variance",
    "mean_variance",
    "reconstruction_loss",
)
"""Ten of our numbers that one batch gives, for those who compute them by hand."""


def ten_numbers(moments: Mapping[str, Tensor], reconstruction: Tensor) -> dict[str, Tensor]:
    """The ten from the means over the batch of mu, mu^2, sigma^2 and ln sigma^2, ``[units]``."""
    mean_variance = moments["square"] - moments["mean"].square()
    posterior_variance = moments["variance"]
    total = mean_variance + posterior_variance
    information = 0.5 * (total.log() - moments["log_variance"]).sum()
    excess = moments["square"] + posterior_variance - 1.0 - moments["log_variance"]
    kl, active = 0.5 * excess.sum(), mean_variance > 0.01
    values = (
        information,
        kl,
        kl - information,
        active.sum(),
        active.float().mean(),
        (mean_variance > 0.05 * total).sum(),
        ((posterior_variance - 1.0).abs() < 0.1).sum(),
        posterior_variance.mean(),
        mean_variance.mean(),
        reconstruction,
    )
    return dict(zip(TEN, values, strict=True))


def moments_of(mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
    """What :func:`ten_numbers` takes, from one batch."""
    return {
        "mean": mean.mean(0),
        "square": mean.square().mean(0),
        "variance": log_variance.exp().mean(0),
        "log_variance": log_variance.mean(0),
    }


class SelfLog(Watcher):
    """Lightning's ``self.log`` of the ten numbers, each step."""

    def __init__(self, log: Callable[[str, Any], None]) -> None:
        self._log = log

    @torch.no_grad()
    def observe(self, posteriors: Posteriors, reconstruction: Tensor) -> None:
        """Compute and log; Lightning writes to its logger every 50 steps."""
        for name, (mean, log_variance) in posteriors.items():
            numbers = ten_numbers(moments_of(mean, log_variance), reconstruction.detach())
            for key, value in numbers.items():
                self._log(f"collapse/{name}/{key}", value.float())

    def step(self) -> None:
        """Nothing is left to do."""
