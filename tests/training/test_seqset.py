"""The sequential set VAE: sets have no order, padding no weight, and the future no say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from collapse_logging import CollapseMonitor, Level, Report
from collapse_logging.training.events import Batch, collate
from collapse_logging.training.seqset import SeqSetVAE
from collapse_logging.training.warmup import warmed_up
from collapse_logging.writers import MemoryWriter

from .parts import batch, cohort


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> SeqSetVAE:
    """A small one whose z is its mean, so that two batches can be compared."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    torch.manual_seed(0)
    return SeqSetVAE(24, hidden=32, units=4)


@torch.no_grad()
def losses(model: SeqSetVAE, given: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction loss and KL of each set, ``[sets]``."""
    reconstruction, kl = model(given)
    return reconstruction, kl.sum(1)


def test_padding_changes_nothing(model: SeqSetVAE) -> None:
    """A patient's sets have the loss that they have alone, whoever stands beside him."""
    lengths = [len(one.hour) for one in cohort(4)]
    assert len(set(lengths)) > 1
    together = losses(model, batch(0, 1, 2, 3))
    alone = zip(*(losses(model, batch(index)) for index in range(4)), strict=True)
    for mine, theirs in zip(together, alone, strict=True):
        assert torch.allclose(mine, torch.cat(theirs), rtol=1e-4, atol=1e-4)


def test_the_order_within_a_set_does_not_matter(model: SeqSetVAE) -> None:
    """Events shuffled within a batch give the same losses."""
    given = batch(0, 1)
    order = torch.randperm(len(given.value))
    columns = {name: getattr(given, name)[order] for name in given._fields[:4]}
    for one, two in zip(
        losses(model, given), losses(model, given._replace(**columns)), strict=True
    ):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-4)


def test_the_future_has_no_say(model: SeqSetVAE) -> None:
    """Other values in the last set change its own loss and that of no set before it."""
    given = batch(2)
    last = given.of_set == given.of_set.max()
    other = given._replace(value=torch.where(last, given.value + 2, given.value))
    before, after = losses(model, given)[0], losses(model, other)[0]
    assert torch.allclose(before[:-1], after[:-1], atol=1e-5)
    assert not torch.isclose(before[-1], after[-1])
    first = given.of_set == 0
    other = given._replace(value=torch.where(first, given.value + 2, given.value))
    assert not torch.isclose(before[-1], losses(model, other)[0][-1])


@pytest.mark.parametrize("size", [1, 5])
def test_the_detector_counts_sets_and_no_padding(size: int) -> None:
    """Of one patient a batch, or of many, the samples of a window are the sets that there are."""
    patients = cohort(size * 4)
    reports = train(SeqSetVAE(24), [patients[i : i + size] for i in range(0, size * 4, size)], 4)
    latent = reports[-1].latents["encoder"]
    assert latent.measures["samples"] == sum(len(one.hour) for one in patients)


def test_no_latents_need_to_be_named() -> None:
    """The one module that gives a posterior is found."""
    reports = train(SeqSetVAE(24), [cohort(1)] * 2, 2, latents=None)
    assert list(reports[-1].latents) == ["encoder"]


def train(
    model: SeqSetVAE,
    batches: list[list[Any]],
    check_frequency: int,
    latents: str | None = "encoder",
    told: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    """Train in a plain loop, without beta's warm-up, under a monitor."""
    memory = MemoryWriter()
    optimizer = model.configure_optimizers()
    with CollapseMonitor(
        [memory], rules="fast", check_frequency=check_frequency, verbose=False, strict=True
    ) as monitor:
        monitor.watch(model, latents)
        for given in batches:
            reconstruction, kl = model(collate(given))
            optimizer.zero_grad()
            (reconstruction.mean() + model.beta * kl.sum(1).mean()).backward()
            optimizer.step()
            monitor.step(reconstruction_loss=reconstruction.mean())
    return memory.reports


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(
    ("settings", "level"),
    [({"beta": 0.1}, Level.OK), ({"reduction": "mean", "beta": 1.0}, Level.RED)],
    ids=["healthy", "averaged"],
)
def test_both_fates_of_both_kinds_of_batches(
    size: int, settings: dict[str, Any], level: Level
) -> None:
    """One patient a batch or four: the healthy run is never red, the averaged loss is."""
    patients, steps = cohort(30), 240 // size**0.5
    torch.manual_seed(0)
    model = SeqSetVAE(24, hidden=32, units=8, learning_rate=3e-3, **settings)
    order = torch.randint(30, (int(steps), size), generator=torch.Generator().manual_seed(0))
    reports = train(model, [[patients[i] for i in row] for row in order.tolist()], 20)
    assert reports[-1].level == level
    assert any(report.level is Level.RED for report in reports) == (level is Level.RED)


@pytest.mark.parametrize(
    ("settings", "at_0", "half_way", "later"),
    [
        ({"beta": 0.3, "warmup_beta": False}, 0.3, 0.3, 0.3),
        ({"beta": 0.3, "warmup_beta": True}, 0.0, 0.15, 0.3),
        ({"beta": 0.3, "warmup_beta": True, "max_beta": 0.8}, 0.0, 0.4, 0.8),
        ({"beta": 0.3, "warmup_beta": False, "max_beta": 0.8}, 0.3, 0.3, 0.3),
        (
            {"beta": 0.3, "warmup_beta": False, "kl_annealing": True},
            0.3 / (1 + math.exp(5)),
            0.15,
            0.3,
        ),
    ],
)
def test_the_weight_of_the_kl(
    settings: dict[str, Any], at_0: float, half_way: float, later: float
) -> None:
    """As the manual's names say: a warm-up to max_beta, an annealing that is slow at its ends."""
    model = SeqSetVAE(4, beta_warmup_steps=100, **settings)
    assert model.beta_now == pytest.approx(at_0)  # without a Trainer it is step 0
    if model.rises:
        assert warmed_up(model.beta, 50, 100, model.logistic) == pytest.approx(half_way)
    assert model.beta == later


def test_free_bits_cost_nothing() -> None:
    """At the start no unit has more than the free nats: the loss is theirs and nothing pulls."""
    torch.manual_seed(0)
    model = SeqSetVAE(24, warmup_beta=False, beta=1.0, free_bits=5.0)
    model.log = model.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    torch.manual_seed(1)
    loss = model.training_step(given := batch(0), 0)
    torch.manual_seed(1)
    assert loss.item() == pytest.approx(model(given)[0].mean().item() + 5.0 * 16, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1.0}, "beta: expected a number from 0"),
        ({"max_beta": "1"}, "beta: expected a number"),
        ({"free_bits": -0.1}, "free_bits: expected a number from 0"),
        ({"beta_warmup_steps": 0}, "beta_warmup_steps: expected an integer of at least 1, got 0"),
        ({"reduction": "average"}, r"reduction: expected one of \['mean', 'sum'\], got 'average'"),
    ],
)
def test_a_wrong_setting_is_told(settings: dict[str, Any], message: str) -> None:
    """Expected, got and how to mend, before a day is lost."""
    with pytest.raises((ValueError, TypeError), match=message):
        SeqSetVAE(4, **settings)
