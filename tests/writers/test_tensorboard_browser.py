"""The demo's folder in a real TensorBoard, in a real browser: nothing is configured or clicked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from collapse_logging.training import demo
from docs.screenshots import CHROMIUM, VIEWS, chromium, opened

from .board import served_fast, served_slow

pytest.importorskip("playwright", reason="playwright drives the browser; pip install playwright")
pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}; apt-get install chromium"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``collapse-logging demo`` leaves behind, in fewer steps."""
    root = tmp_path_factory.mktemp("browser") / "demo"
    demo.run(root, steps=200, seed=0)
    return root


@pytest.fixture(scope="module", params=["fast", "slow"])
def port(request: pytest.FixtureRequest, root: Path) -> Iterator[int]:
    """A TensorBoard that serves it, with each loader in turn."""
    if request.param == "slow":
        yield urlparse(served_slow(root)).port or 0
        return
    with served_fast(root) as address:
        yield urlparse(address).port or 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("name", VIEWS)
def test_the_view_shows_both_runs(name: str, port: int, browser: Any) -> None:
    """Pinned charts, dashboard, histograms, maps and the red alert's text are on the page."""
    page = opened(browser, VIEWS[name], port)
    try:
        page.locator("text=averaged").first.wait_for(timeout=10_000)
    finally:
        page.close()


def test_a_view_without_data_does_not_pass(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder the dashboard's charts are waited for in vain."""
    from playwright.sync_api import TimeoutError as NeverShown

    monkeypatch.setattr("docs.screenshots.PATIENCE", 3_000)
    with pytest.raises(NeverShown):
        opened(browser, VIEWS["dashboard"], urlparse(served_slow(tmp_path)).port or 0)
