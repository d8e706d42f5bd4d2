"""The one measure that needs single samples: mutual information, on the device, once a check."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .posterior import Posterior, by_position
from .shifts import LOG_VARIANCE_LIMIT

_PAIR_ELEMENTS = 2**24


@torch.no_grad()
def mutual_information(posterior: Posterior, generator: torch.Generator) -> Tensor:
    """Lower bound of I(x; z) from one batch, in nats, with its cap; ``[2]``, on the device.

    ``(1/B) sum_i ln [q(z_i|x_i) / mean_j q(z_i|x_j)]`` with the same sample in both terms: it is
    exactly 0 without variance in a collapse. It cannot exceed ln B; B is at most 256, less
    where ``B^2 x cells`` would pass 2^24. This is the only measure that needs single rows, so it
    runs on the device, once a check.

    Args:
        posterior: the check's last batch, two samples or more.
        generator: our own, on the posterior's device: the user's random stream is not touched.

    Source: He, Spokoyny, Neubig and Berg-Kirkpatrick 2019, with the same-sample estimator.
    """
    mean = by_position(posterior.mean).flatten(1)
    rows = min(mean.shape[0], 256, max(2, math.isqrt(_PAIR_ELEMENTS // mean.shape[1])))
    exact = torch.float32 if mean.device.type == "mps" else torch.float64
    mean = mean[:rows].to(exact)
    log_variance = by_position(posterior.log_variance).flatten(1)[:rows].to(exact)
    log_variance = log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
    mean = mean - mean.mean(0)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=exact)
    z = mean + (0.5 * log_variance).exp() * noise
    weight = (-log_variance).exp()
    squares = (z * z) @ weight.T - 2.0 * z @ (mean * weight).T
    log_q = -0.5 * (squares + (mean * mean * weight + log_variance).sum(1))
    bound = (log_q.diagonal() - log_q.logsumexp(1)).mean() + math.log(rows)
    return torch.stack([bound, torch.full_like(bound, math.log(rows))]).float()
