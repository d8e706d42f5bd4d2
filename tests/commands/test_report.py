"""``report``: a picture and a page from what is on the disk."""

from __future__ import annotations

import base64
import re
import shutil
import struct
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from collapse_logging import Report
from collapse_logging.cli import main
from collapse_logging.writers import LedgerWriter
from tests.recorded import collapsed, healthy, long_ledger

pytest.importorskip("matplotlib")

NAMES = ("<img src=x onerror=alert(1)>", "_$x^$\nlong name " * 5, "潜在变量")


def size(picture: bytes) -> tuple[int, int]:
    """Width and height in a PNG's header."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture[12:16] == b"IHDR"
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def test_a_run_is_drawn_beside_its_ledger(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The picture has a sensible size and is in the page; stdout says where both are."""
    folder = sweep / "a_collapsed"
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [
        "collapsed:",
        "sweep/a_collapsed",
        "sweep/a_collapsed/collapse_report.png",
        "sweep/a_collapsed/collapse_report.html",
    ]
    picture = (folder / "collapse_report.png").read_bytes()
    width, height = size(picture)
    assert 1000 <= width <= 1500
    assert 800 <= height <= 2500
    page = Page(folder / "collapse_report.html")
    (image,) = (attributes for tag, attributes in page.tags if tag == "img")
    source = str(image["src"])
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == picture
    for text in (
        "First red at step 35.",
        "Last healthy step: 20.",
        "step 60, 12 checks, 3 alerts",
        "YELLOW → ORANGE",
        "the latent carries almost nothing about the data",
        "information_limit",
    ):
        assert text in page.text


def test_the_page_needs_no_network_and_escapes_names(tmp_path: Path) -> None:
    """No address, no script, and a latent's name is text whatever is in it."""
    collapsed(tmp_path / "<b>run", latents=NAMES)
    assert main(["report", str(tmp_path / "<b>run")]) == 0
    file = tmp_path / "<b>run" / "collapse_report.html"
    page = Page(file)
    assert not re.search(r"https?:|//", re.sub(r"base64,[^\"]*", "", file.read_text()))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("img") == 1
    assert not {"script", "link", "iframe", "b", "a"} & set(tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(NAMES[0]) == 4  # the table of latents, and three alerts


def test_every_run_of_a_sweep_is_drawn_into_one_folder(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each under a name of its own; the run without a check is said, and the exit code is 2."""
    out = tmp_path / "out" / "reports"
    for run in ("b_at_risk", "c_healthy"):
        shutil.rmtree(sweep / run)
    assert main(["report", str(sweep), "--out", str(out)]) == 2
    assert {file.name for file in out.iterdir()} == {
        f"{name}_collapse_report.{kind}"
        for name in ("a_collapsed", "e_events")
        for kind in ("png", "html")
    }
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "d_begun: no check has been written yet, or none that can be read"


def one_check(folder: Path) -> None:
    """A ledger with a single report."""
    (report,) = healthy(folder.parent / "other")[:1]
    writer = LedgerWriter(folder)
    writer.write(report)
    writer.close()


def single_unit(folder: Path) -> None:
    """A ledger without vectors and without a reconstruction loss."""
    ledger = folder / "collapse_ledger.jsonl"
    healthy(folder)
    text = re.sub(r'"per_unit":\{[^}]*\}', '"per_unit":{}', ledger.read_text())
    ledger.write_text(re.sub(r'"reconstruction_loss":[\d.]*,?', "", text))


@pytest.mark.parametrize("make", [one_check, single_unit])
def test_little_data_is_drawn_too(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """One check, or no vectors and no loss."""
    make(tmp_path / "run")
    assert main(["report", str(tmp_path / "run")]) == 0
    assert size((tmp_path / "run" / "collapse_report.png").read_bytes())


@pytest.mark.parametrize(
    ("run", "message"),
    [("d_begun", "no check has been written yet"), ("missing", "no such file or folder")],
)
def test_nothing_to_draw_is_one_line(
    sweep: Path, run: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and no file."""
    assert main(["report", str(sweep / run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(Path().rglob("*.png"))


def test_without_matplotlib_it_says_what_to_install(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with exit code 2."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(sweep / "c_healthy")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'collapse-logging[report]'" in line


def test_a_folder_that_cannot_be_written_is_one_line(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; here a file stands where the folder should be."""
    Path("taken").touch()
    assert main(["report", str(sweep / "c_healthy"), "--out", "taken"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "taken" in line


def test_a_hundred_thousand_checks_are_drawn_in_seconds(
    tmp_path: Path, reports: list[Report], capsys: pytest.CaptureFixture[str]
) -> None:
    """All changes of level are in the page; the time is printed, and capped loosely."""
    long_ledger(tmp_path, reports, 100_000)
    start = time.perf_counter()
    assert main(["report", str(tmp_path)]) == 0
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\n100,000 checks drawn in {seconds:.1f} s")
    page = Page(tmp_path / "collapse_report.html")
    assert "step 5000000, 100000 checks, 3 alerts" in page.text
    assert "First red at step 2500050." in page.text
    assert seconds < 60
