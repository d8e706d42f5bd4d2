"""What is in the wheel and in the source distribution, built here without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import collapse_logging

pytest.importorskip("build", reason="the package build is not installed: pip install build")

ROOT = Path(__file__).parent.parent
NOT_OURS = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
INDEX = (ROOT / "docs" / "package_index.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel that was built from a source distribution."""
    tree = tmp_path_factory.mktemp("package") / "tree"
    shutil.copytree(ROOT, tree, ignore=NOT_OURS)
    command = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"]
    done = subprocess.run([*command, tree], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(folder: Path) -> zipfile.ZipFile:
    """The wheel, open."""
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Every module, py.typed and every YAML file; no tests, notebooks, benchmarks or docs."""
    package = ROOT / "collapse_logging"
    wanted = [*package.rglob("*.py"), *package.rglob("*.yaml"), package / "py.typed"]
    about = f"collapse_logging-{collapse_logging.__version__}.dist-info"
    names = {name for name in wheel.namelist() if not name.startswith(about)}
    assert names == {path.relative_to(ROOT).as_posix() for path in wanted}
    assert f"{about}/licenses/LICENSE" in wheel.namelist()


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    """Version, licence, stability and command; the description is the page for the index."""
    (about,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = message_from_string(wheel.read(about).decode())
    assert metadata["Version"] == collapse_logging.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Development Status :: 5 - Production/Stable" in metadata.get_all("Classifier", [])
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == INDEX
    commands = wheel.read(about.replace("METADATA", "entry_points.txt")).decode()
    assert "collapse-logging = collapse_logging.cli:main" in commands


def test_the_source_distribution_builds_documents_and_tests_itself(folder: Path) -> None:
    """Beside the package it holds what make needs, the tests, the docs and the notebooks."""
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = ["LICENSE", "README.md", "CHANGELOG.md", "Makefile", "setup.cfg", "pyproject.toml"]
    wanted = [ROOT / name for name in [*top, "constraints.txt", "mkdocs.yml"]]
    for folder in ("collapse_logging", "tests", "benchmarks", "docs", "notebooks"):
        wanted += [path for path in (ROOT / folder).rglob("*.*") if path.suffix != ".pyc"]
    missing = {path.relative_to(ROOT).as_posix() for path in wanted if path.is_file()} - names
    assert not {name for name in missing if "/." not in name}
    assert not {name for name in names if "__pycache__" in name}


def test_the_index_page_shows_everything_that_it_holds() -> None:
    """A package index has no pictures and no files of the repository; the code is the README's."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"\]\((?!https://)", INDEX)
    (code,) = re.findall(r"^```python\n.*?^```", INDEX, re.MULTILINE | re.DOTALL)
    assert code in readme
    first, second = INDEX.split("\n\n")[1:3]
    assert first in readme
    assert second in readme
