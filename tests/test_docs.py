"""The documentation's site: every public name has its place, and nothing comes from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_logging
from collapse_logging import families, remedies, responses, writers
from collapse_logging.responses import CheckResponse

ROOT = Path(__file__).parent.parent
REFERENCE = "".join(path.read_text() for path in sorted((ROOT / "docs" / "api").glob("*.md")))
HEADINGS = re.findall(r"^::: ([\w.]+)$", REFERENCE, re.MULTILINE)
NAMED = {heading.rpartition(".")[2] for heading in HEADINGS}


def test_every_public_name_is_in_the_reference() -> None:
    """What can be imported from the package, its writers and families has a heading of its own."""
    assert len(HEADINGS) == len(set(HEADINGS))
    public = {*collapse_logging.__all__, *writers.__all__, *families.__all__}
    assert public - NAMED - {"family_of"} == set()
    ready = [*vars(responses).values(), *vars(remedies).values()]
    kinds = {kind for kind in ready if isinstance(kind, type) and issubclass(kind, CheckResponse)}
    assert len(kinds) > 4
    assert {kind.__name__ for kind in kinds} - NAMED == set()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_pages_of_the_site_need_no_network(site: Path) -> None:
    """No script, style, font or picture is fetched from another host."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    outside = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    for page in pages:
        found = outside.findall(page.read_text(encoding="utf-8"))
        assert not found, (page, found)


def test_the_first_page_is_the_readme_with_its_pictures(site: Path) -> None:
    """Links of the README lead to pages and pictures of the site."""
    page = (site / "index.html").read_text(encoding="utf-8")
    for name in ("time_series.png", "faults.html", "changelog.html", "overhead_targets.html"):
        assert re.search(rf"(?:src|href)=\"?(?:results/)?{name}", page), name


def test_docstrings_are_rendered_without_leftovers(site: Path) -> None:
    """Roles of docstrings are names, and sections of them are sections."""
    page = (site / "api" / "watch.html").read_text(encoding="utf-8")
    assert "Parameters:" in page
    assert not re.search(r":(?:class|meth|func|data|attr):", page)
