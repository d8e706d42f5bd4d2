"""Draws the README's picture: the demo's folder in a running TensorBoard, in headless Chromium.

Needs Debian's chromium (and fonts-noto-color-emoji) and ``pip install playwright``:

    collapse-logging demo --out runs/demo
    python docs/screenshots.py runs/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlparse

from playwright.sync_api import sync_playwright
from tensorboard import program

from collapse_logging.writers.link import tensorboard_link

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def main() -> None:
    """Serve the folder, open the pinned link, wait for the charts, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logdir", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    board = program.TensorBoard()
    board.configure(
        argv=[None, "--logdir", str(options.logdir), "--port", "0", "--load_fast", "false"]
    )
    port = urlparse(board.launch()).port
    assert port is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1400, "height": 940})
        page.goto(tensorboard_link(["z"], port))
        page.wait_for_selector("text=Pinned", timeout=60_000)
        page.wait_for_function("document.querySelectorAll('scalar-card').length >= 4")
        page.wait_for_timeout(3_000)  # the charts draw after their cards are there
        page.screenshot(path=Path(__file__).parent / "time_series.png")
        browser.close()


if __name__ == "__main__":
    main()
