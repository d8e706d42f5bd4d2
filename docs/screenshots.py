"""Draws the README's pictures: the demo's folder in a running TensorBoard, in headless Chromium.

Needs Debian's chromium (and fonts-noto-color-emoji) and the extra ``dev``; from the root:

    collapse-logging demo
    python -m docs.screenshots runs/demo
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from collapse_logging.writers.link import dashboard_link, tensorboard_link

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

PATIENCE = 60_000
"""Milliseconds that a view may take to show its data."""


@dataclass(frozen=True)
class View:
    """One of TensorBoard's views.

    Attributes:
        address: from a port to what to open.
        wait: returns once the demo's data of both runs are on the page.
        size: of the window that the picture is taken of, in pixels.
    """

    address: Callable[[int], str]
    wait: Callable[[Any], None]
    size: tuple[int, int]


def time_series(page: Any) -> None:
    """Four pinned charts, each with both runs in its table."""
    for run in ("healthy", "averaged"):
        page.locator("scalar-card", has_text=run).nth(3).wait_for(timeout=PATIENCE)


def dashboard(page: Any) -> None:
    """Six charts with a line of each run."""
    kinds = [f"tf-custom-scalar-{kind}-chart-card" for kind in ("multi-line", "margin")]
    cards = page.locator(", ".join(kinds), has_text=re.compile(r"Matches\s*\([24]\)"))
    cards.nth(5).wait_for(timeout=PATIENCE)


def histograms(page: Any) -> None:
    """Two variances of two runs, drawn."""
    for card in range(4):
        drawn = page.locator("tf-histogram-loader").nth(card).locator(".histogram path")
        drawn.first.wait_for(timeout=PATIENCE, state="attached")


def information_map(page: Any) -> None:
    """A map of each run, loaded."""
    for card in range(2):
        picture = page.locator("tf-image-loader").nth(card).locator("#main-image-container img")
        picture.wait_for(timeout=PATIENCE)
        picture.evaluate("picture => picture.decode()")


def alerts(page: Any) -> None:
    """The collapsing run's table with the alert in full below."""
    card = page.locator("tf-text-loader", has_text="collapse/alerts")
    card.get_by_text("posterior collapse: z OK -> RED").first.wait_for(timeout=PATIENCE)


VIEWS = {
    "time_series": View(lambda port: tensorboard_link(["z"], port), time_series, (1400, 940)),
    "dashboard": View(dashboard_link, dashboard, (1500, 740)),
    "histograms": View(
        lambda port: f"http://localhost:{port}/#histograms", histograms, (1400, 700)
    ),
    "information_map": View(
        lambda port: f"http://localhost:{port}/#images", information_map, (1400, 560)
    ),
    "alerts": View(
        lambda port: f"http://localhost:{port}/#text&tagFilter=alerts", alerts, (1400, 760)
    ),
}
"""By the names of the pictures."""


@contextlib.contextmanager
def chromium(path: Path = CHROMIUM) -> Iterator[Any]:
    """A headless browser; needs the package playwright, not the browsers that it would bring.

    Its pages share a cache: TensorBoard's page is five megabytes of script.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser.new_context()
        browser.close()


def opened(browser: Any, view: View, port: int) -> Any:
    """A page that shows the view's data."""
    width, height = view.size
    page = browser.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.goto(view.address(port))
    view.wait(page)
    return page


def main() -> None:
    """Serve the folder, open each view, take its picture in a few colours."""
    from PIL import Image
    from tensorboard import program

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logdir", type=Path)
    parser.add_argument("--chromium", type=Path, default=CHROMIUM)
    options = parser.parse_args()
    board = program.TensorBoard()
    board.configure(
        argv=[None, "--logdir", str(options.logdir), "--port", "0", "--load_fast", "false"]
    )
    port = urlparse(board.launch()).port
    assert port is not None
    with chromium(options.chromium) as browser:
        for name, view in VIEWS.items():
            page = opened(browser, view, port)
            page.wait_for_timeout(3_000)  # charts glide to their places
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            few = picture.quantize(256, Image.Quantize.MAXCOVERAGE)  # keeps the rare, bright ones
            few.save(Path(__file__).parent / f"{name}.png", optimize=True)
            page.close()


if __name__ == "__main__":
    main()
