"""The namespaces, and what Lightning leaves behind."""

from __future__ import annotations

import importlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from collapse_logging.lightning import PosteriorCollapseDetector

from .parts import NAMESPACES


@pytest.fixture(params=NAMESPACES)
def pl(request: pytest.FixtureRequest) -> Any:
    """Each Lightning namespace; the callback must have the bases of both."""
    namespace = importlib.import_module(request.param)
    assert issubclass(PosteriorCollapseDetector, namespace.Callback), (
        "collapse_logging.lightning was imported before this namespace"
    )
    return namespace


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    """Lightning ignores Ctrl-C for good after a KeyboardInterrupt; undo that. So may CI."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the package says, from warnings on."""
    caplog.set_level(logging.WARNING, logger="collapse_logging")
    return caplog
