"""For all tests: wandb never goes online, whoever starts it first; texts are in English."""

import os

import pytest

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["LC_ALL"] = "C.UTF-8"


@pytest.fixture
def windows_alone(monkeypatch):
    """Windows are judged alone however few samples they have, for tests that count samples."""
    monkeypatch.setattr("collapse_logging.verdict.ENOUGH_SAMPLES", 0)
