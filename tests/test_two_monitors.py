"""Two monitors on one loop: the early warning beside the main one."""

import pytest
import torch

from .parts import VAE, losses, recorded


def trained(*monitors, observe):
    """Thirty steps of one model; each monitor watches it, or is told."""
    torch.manual_seed(0)
    model = VAE()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for monitor in () if observe else monitors:
        monitor.watch(model, {"z": "encoder"})
    for _ in range(30):
        x = torch.randn(8, 6)
        reconstruction, mean, log_variance = model(x)
        for monitor in monitors if observe else ():
            monitor.observe("z", mean, log_variance)
        recon, kl = losses(x, reconstruction, mean, log_variance)
        optimizer.zero_grad()
        (recon + kl).backward()
        optimizer.step()
        for monitor in monitors:
            monitor.step(reconstruction_loss=recon)
    for monitor in monitors:
        monitor.close()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("observe", [True, False], ids=["told", "watching"])
def test_each_reports_as_if_it_were_alone(observe):
    """Growth, information and levels to the last digit; the training is the same, too."""
    alone = []
    for settings in ({"check_frequency": 10}, {"check_frequency": 5, "kl_threshold": 0.02}):
        monitor, memory = recorded(**settings)
        parameters = trained(monitor, observe=observe)
        alone.append([report.to_dict() for report in memory.reports])
    main, said = recorded(check_frequency=10)
    early, earlier = recorded(check_frequency=5, kl_threshold=0.02)
    together = trained(main, early, observe=observe)
    assert [report.to_dict() for report in said.reports] == alone[0]
    assert [report.to_dict() for report in earlier.reports] == alone[1]
    assert (len(alone[0]), len(alone[1])) == (3, 6)
    assert "growth" in alone[0][0]["latents"]["z"]["measures"]
    assert all(torch.equal(a, b) for a, b in zip(parameters, together, strict=True))
