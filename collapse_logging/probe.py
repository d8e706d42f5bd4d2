"""The decoder probe: does the loss change when a sample gets another sample's z?"""

from __future__ import annotations

import contextlib
import copy
import logging
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .arguments import got
from .capture import Capture

Loss = typing.Callable[[Any], Tensor]
"""Takes a batch and gives the loss of each sample, ``[batch]``, through the watched model."""

_log = logging.getLogger("collapse_logging")


class Probe:
    """Compares the loss of each sample with its own posterior and with its neighbour's.

    The same random numbers are used in both passes, so the difference is paired. The random
    stream, the modules' modes and their buffers are afterwards as they were. Every mitigation
    of a collapse blinds one of the other signals; none blinds this one.

    Args:
        loss: the reconstruction loss of each sample of a batch, ``[batch]``, through the watched
            model; a KL in it is dealt, too, and only widens the error.
        strict: raise what the callable raises; else it is told once and asked no more.
    """

    def __init__(self, loss: Loss, strict: bool = False) -> None:
        if not callable(loss):
            raise TypeError(
                "probe: expected a callable that takes a batch and gives the loss of each sample, "
                f"got {got(loss)}; write probe=model.reconstruction_loss_of_each_sample."
            )
        self._loss = loss
        self._strict = strict
        self._over = False

    def ask(self, capture: Capture | None, batch: Any) -> Mapping[str, Tensor]:
        """As :meth:`gaps`; empty where it cannot be asked, with the reason told once."""
        if self._over:
            return {}
        try:
            return self.gaps(capture, batch)
        except Exception:
            if self._strict:
                raise
            self._over = True
            _log.exception("the decoder probe failed; it is left out and training goes on.")
            return {}

    @torch.no_grad()
    def gaps(self, capture: Capture | None, batch: Any) -> Mapping[str, Tensor]:
        """Per latent the mean gap and its standard error, ``[2]`` in the loss's unit.

        A batch of one sample has no neighbour: the gap is then left out.

        Raises:
            ValueError: no batch was given, no module is watched, or what the callable gives is
                not one loss a sample.
        """
        if batch is None or capture is None or not capture.latents:
            raise ValueError(
                "probe: expected monitor.step(batch=...) and a watched module, whose output can "
                f"be dealt to other samples; got batch {type(batch).__name__} and the latents "
                f"{list(capture.latents if capture else ())}; watch(model, latents=...) by the "
                "path of a module."
            )
        with _undisturbed(capture.model):
            own = self._per_sample(capture, None, batch)
        found = {}
        for latent in capture.latents if len(own) > 1 else ():
            with _undisturbed(capture.model):
                gap = self._per_sample(capture, latent, batch) - own
            found[latent] = torch.stack([gap.mean(), gap.std() / len(gap) ** 0.5])
        return found

    def _per_sample(self, capture: Capture, latent: str | None, batch: Any) -> Tensor:
        with capture.swap.of(latent, neighbours):
            loss = self._loss(batch)
        if not isinstance(loss, Tensor) or loss.ndim != 1:
            got = f"{list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(
                f"probe: expected the loss of each sample, [batch], got {got}; sum over the "
                "sample's own axes and leave the batch axis, e.g. loss.flatten(1).sum(1)."
            )
        return loss.detach().float()


def neighbours(output: Any) -> Any:
    """A module's output with each sample's posterior given to the next sample of the batch."""
    if isinstance(output, Tensor):
        return output.roll(1, 0) if output.ndim else output
    if isinstance(output, (tuple, list)):
        dealt: list[Any] = [neighbours(part) for part in output]
        made: Any = type(output)
        return made(*dealt) if hasattr(output, "_fields") else made(dealt)
    if isinstance(output, Mapping):
        changed: Any = copy.copy(output)
        for name, part in output.items():
            changed[name] = neighbours(part)
        return changed
    if isinstance(output, Distribution):
        return _dealt(output, output.batch_shape[0])
    if hasattr(output, "__dict__") and not callable(output):  # an object of such parts
        changed = copy.copy(output)
        vars(changed).update({name: neighbours(part) for name, part in vars(output).items()})
        return changed
    return output


def _dealt(distribution: Distribution, rows: int) -> Distribution:
    """A distribution of the same kind with the neighbours' parameters, of ``rows`` samples."""
    changed = copy.copy(distribution)
    for name, part in vars(distribution).items():
        if isinstance(part, Distribution):
            vars(changed)[name] = _dealt(part, rows)
        elif isinstance(part, Tensor) and part.ndim and part.shape[0] == rows:
            vars(changed)[name] = part.roll(1, 0)
    return changed


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Afterwards random streams, modes and buffers (running means) are as they were."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    modes = [(module, module.training) for module in model.modules()]
    saved = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for module, name, buffer, value in saved:
            setattr(module, name, buffer.copy_(value))  # it may have been replaced
        for module, mode in modes:
            module.training = mode
