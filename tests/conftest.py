"""For all tests: wandb never goes online, whoever starts it first; texts are in English.

Without a GPU Triton interprets our kernels; it must be told before it is imported.
"""

import os
import tempfile

import pytest
import torch

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["LC_ALL"] = "C.UTF-8"
# trackio reads it once, when it is first imported, by whichever test
os.environ["TRACKIO_DIR"] = tempfile.mkdtemp(prefix="trackio-")
os.environ["HF_HUB_OFFLINE"] = "1"
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture
def windows_alone(monkeypatch):
    """Windows are judged alone however few samples they have, for tests that count samples."""
    monkeypatch.setattr("collapse_logging.verdict.ENOUGH_SAMPLES", 0)


@pytest.fixture(autouse=True, scope="session")
def watching_costs_nothing():
    """What it costs, and so how often steps are observed, hangs on the machine: see test_budget."""
    from collapse_logging.budget import Budget

    spent = Budget.spent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_logging.budget.SHARE", float("inf"))
        patch.setattr("collapse_logging.budget.Budget.spent", lambda budget, steps: {})
        yield spent


@pytest.fixture
def cost_told(watching_costs_nothing, monkeypatch):
    """What watching costs is told, as it is outside of tests."""
    monkeypatch.setattr("collapse_logging.budget.Budget.spent", watching_costs_nothing)


@pytest.fixture
def at_once(monkeypatch):
    """Batches are summed at once, as they are on an accelerator."""
    monkeypatch.setattr("collapse_logging.pile.MOST_BYTES", 0)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module run in one process: it is set up once."""
    for item in items:
        found = getattr(item, "_fixtureinfo", None)
        fixtures = [] if found is None else found.name2fixturedefs.values()
        if any(definitions[-1].scope == "module" for definitions in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
