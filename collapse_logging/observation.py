"""One batch of one latent between the forward pass and the end of the step."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .posterior import Posterior


@dataclass(eq=False)  # tensors cannot be compared
class Observation:
    """A handle on a batch, which gets the gradient of its mean in backward.

    Attributes:
        posterior: the batch, detached.
        mask: True where a sample is real, or None.
        gradient: dL/d mean, None before backward and without one.
    """

    posterior: Posterior
    mask: Tensor | None
    source: weakref.ref[Tensor]
    versions: tuple[int, int]
    gradient: Tensor | None = None
    hook: RemovableHandle | None = None

    @classmethod
    def of(cls, posterior: Posterior, mask: Tensor | None, rows: int | None) -> Observation:
        """Keep a handle on the first ``rows`` rows and ask autograd for the mean's gradient."""
        mean, log_variance = posterior.mean, posterior.log_variance
        handle = Posterior(mean.detach(), log_variance.detach())
        if rows is not None and mean.shape[0] > rows:
            handle = Posterior(handle.mean[:rows], handle.log_variance[:rows])
            mask = None if mask is None else mask[:rows]
        observation = cls(handle, mask, weakref.ref(mean), _versions(handle))
        if mean.requires_grad:
            observation.hook = mean.register_hook(observation.keep_gradient)  # type: ignore[no-untyped-call]
        return observation

    @property
    def unchanged(self) -> bool:
        """Whether the batch was left alone since it was observed."""
        return _versions(self.posterior) == self.versions

    def keep_gradient(self, gradient: Tensor | None) -> None:
        """Tensor hook: dL/d mean arrives in backward; a second backward adds to it."""
        if gradient is None:  # compiled backward, where the loss does not reach the mean
            return
        gradient, rows = gradient.detach(), self.posterior.mean.shape[0]
        gradient = gradient if gradient.shape[0] == rows else gradient[:rows]
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def release(self) -> None:
        """Take the hook off: a mean that is a leaf outlives the step."""
        if self.hook is not None:
            self.hook.remove()


def _versions(posterior: Posterior) -> tuple[int, int]:
    if posterior.mean.is_inference() or posterior.log_variance.is_inference():
        return 0, 0
    return posterior.mean._version, posterior.log_variance._version
