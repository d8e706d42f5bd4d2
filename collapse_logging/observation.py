"""One batch of one latent between the forward pass and the end of the step."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .family import Family
from .posterior import Posterior


@dataclass(eq=False, slots=True)  # tensors cannot be compared
class Observation:
    """A handle on a batch, which gets the gradient of its mean in backward.

    Attributes:
        posterior: the batch, detached, in the prior's units.
        mask: True where a sample is real, or None.
        rows: samples that are read.
        source: the tensor that was observed.
        tensors: what the batch was made of.
        versions: how often each had been changed in place.
        scale: the prior's standard deviation, or None.
        gradient: dL/d mean (of another family: of its parameter), None before backward and
            without one.
        part: takes the mean's gradient out of that of the tensor which it is a part of; or None.
    """

    posterior: Posterior | Family
    mask: Tensor | None
    rows: int
    source: weakref.ref[Tensor]
    tensors: tuple[Tensor, ...]
    versions: list[int]
    scale: Tensor | None = None
    gradient: Tensor | None = None
    hook: RemovableHandle | None = None
    part: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(
        cls, posterior: Posterior | Family, mask: Tensor | None, rows: int | None
    ) -> Observation:
        """Keep a handle on the first ``rows`` rows and ask autograd for the mean's gradient."""
        source = posterior.tensors[0]
        size = source.shape[0]
        rows = size if rows is None or rows > size else rows
        handle, mask = posterior.first(rows), None if mask is None else mask[:rows]
        tensors, versions = handle.tensors, []
        for tensor in tensors:
            versions.append(0 if tensor.is_inference() else tensor._version)
        observation = cls(handle, mask, rows, weakref.ref(source), tensors, versions)
        if isinstance(posterior, Posterior):
            observation.part = posterior.part
            if posterior.prior is not None:
                observation.scale = (0.5 * posterior.prior.log_variance[:rows].float()).exp()
        parameter = posterior.parameter
        if parameter is not None and parameter.requires_grad:
            observation.hook = parameter.register_hook(observation.keep_gradient)  # type: ignore[no-untyped-call]
        return observation

    @property
    def unchanged(self) -> bool:
        """Whether the batch was left alone since it was observed."""
        for tensor, version in zip(self.tensors, self.versions, strict=True):
            if version != (0 if tensor.is_inference() else tensor._version):
                return False
        return True

    def keep_gradient(self, gradient: Tensor | None) -> None:
        """Tensor hook: dL/d mean arrives in backward; a second backward adds to it."""
        if gradient is None:  # compiled backward, where the loss does not reach the mean
            return
        gradient = gradient.detach()
        gradient = gradient if self.part is None else self.part(gradient)
        gradient = gradient if gradient.shape[0] == self.rows else gradient[: self.rows]
        gradient = gradient if self.scale is None else gradient * self.scale
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def release(self) -> None:
        """Take the hook off: a mean that is a leaf outlives the step."""
        if self.hook is not None:
            self.hook.remove()
