"""A convolutional VAE on digits, with latents ``[batch, channels, height, width]``."""

from __future__ import annotations

from torch import Tensor, nn

from ..cases import Case
from .base import Batch, Posteriors
from .digits import Digits


class _ConvNet(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        units, hidden = case["units"], case["hidden"]
        strides = {2: (2, 2), 4: (2, 1)}[case["side"]]
        kernels = [2 * s if s > 1 else 3 for s in strides]
        paddings = [s // 2 if s > 1 else 1 for s in strides]
        self.body = nn.Sequential(
            nn.Conv2d(1, hidden, kernels[0], strides[0], paddings[0]),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, kernels[1], strides[1], paddings[1]),
            nn.ReLU(),
        )
        self.mean = nn.Conv2d(hidden, units, 1)
        self.log_variance = nn.Conv2d(hidden, units, 1)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(units, hidden, kernels[1], strides[1], paddings[1]),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden, hidden, kernels[0], strides[0], paddings[0]),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 3, padding=1),
        )


class Spatial(Digits):
    """Channels are the units, height times width the positions."""

    def net(self) -> nn.Module:
        """Two convolutions either way."""
        return _ConvNet(self.case)

    def posteriors(self, batch: Batch) -> Posteriors:
        """The one latent ``z``, ``[batch, channels, height, width]``."""
        h = self.model.body(batch["x"].reshape(-1, 1, 8, 8))
        return {"z": (self.model.mean(h), self.model.log_variance(h))}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """-ln p(x given z) in nats."""
        return self.likelihood(self.model.decoder(z["z"]).flatten(1), batch["x"])

    def regularizer(self, batch: Batch, posteriors: Posteriors, z: dict[str, Tensor]) -> Tensor:
        """KL summed over channels and positions."""
        flat = {name: (m.flatten(1), lv.flatten(1)) for name, (m, lv) in posteriors.items()}
        return super().regularizer(batch, flat, z)
