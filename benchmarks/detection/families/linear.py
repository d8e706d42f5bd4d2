"""The linear VAE, whose optimum is known in closed form (science.md, section 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Batch, Posteriors, Run

EIGENVALUES = (10.0, 5.0, 2.5, 1.3, 0.8, 0.6, 0.4, 0.3)


def active_in_closed_form(beta: float, sigma: float, units: int) -> int:
    """How many units live at the optimum: eigenvalues above beta sigma^2."""
    return min(units, sum(value > beta * sigma**2 for value in EIGENVALUES))


class _Linear(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        inputs = len(EIGENVALUES)
        self.encoder = nn.Linear(inputs, units)
        self.log_variance = nn.Parameter(torch.zeros(units) - 0.5)
        self.decoder = nn.Linear(units, inputs)


class Linear(Run):
    """x ~ N(0, Q diag(lambda) Q'), decoder N(Wz + m, sigma^2 I), encoder N(Vx + b, diag nu)."""

    def build(self) -> None:
        """Data of its own for each seed."""
        size = len(EIGENVALUES)
        basis, _ = torch.linalg.qr(torch.randn(size, size, generator=self.data_generator))
        self.root = torch.diag(torch.tensor(EIGENVALUES).sqrt()) @ basis.T
        self.held_out = self._rows(500)
        self.model = _Linear(self.case["units"])
        with torch.no_grad():
            self.model.encoder.weight.mul_(self.case["gain"])
            self.model.decoder.weight.mul_(self.case["gain"])

    def _rows(self, count: int) -> Batch:
        shape = (count, len(EIGENVALUES))
        return {"x": torch.randn(shape, generator=self.data_generator) @ self.root}

    def next_batch(self) -> Batch:
        """Fresh rows."""
        return self._rows(self.case["batch"])

    def posteriors(self, batch: Batch) -> Posteriors:
        """The one latent ``z``; its variance does not depend on x."""
        mean = self.model.encoder(batch["x"])
        # A sum, not an expanded view: the optimiser would change a view of its parameter in
        # place before the monitor's step, and the monitor then leaves the batch out.
        return {"z": (mean, self.model.log_variance + torch.zeros_like(mean))}

    def sample_loss(self, batch: Batch, z: dict[str, Tensor]) -> Tensor:
        """Squared error over 2 sigma^2."""
        out = self.model.decoder(z["z"])
        return 0.5 * (out - batch["x"]).square().sum(1) / self.case["sigma"] ** 2

    @torch.no_grad()
    def unit_gaps(self) -> Tensor:
        """Shuffle gap of each unit alone on held-out rows and its error, nats, ``[2, units]``."""
        mean, log_variance = (t.detach() for t in self.posteriors(self.held_out)["z"])
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(8))
        z = mean + (0.5 * log_variance).exp() * noise
        own, gaps = self.sample_loss(self.held_out, {"z": z}), []
        for unit in range(z.shape[1]):
            other = z.clone()
            other[:, unit] = z[:, unit].roll(1, 0)
            gap = self.sample_loss(self.held_out, {"z": other}) - own
            gaps.append(torch.stack([gap.mean(), gap.std() / len(gap) ** 0.5]))
        return torch.stack(gaps, 1)
