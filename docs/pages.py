"""A hook of MkDocs: pages that lie elsewhere in the repository, and links that lead to them."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent

PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "chinese.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PAGES |= {
    path.relative_to(ROOT).as_posix(): f"results/{path.parts[-3]}_{path.name}"
    for path in sorted(ROOT.glob("benchmarks/*/results/*.md"))
}
"""A page of the site for each of the repository; those that do not exist are left out."""

FOLDERS = {"Recipes": "recipes", "Your own parts": "own"}
"""Sections of the navigation that hold every page of a folder."""


def on_config(config: Any) -> Any:
    """The navigation with every recipe, own part and result."""
    for section, folder in FOLDERS.items():
        pages = sorted((ROOT / "docs" / folder).glob("*.md"))
        if pages:
            config.nav.append({section: [f"{folder}/{page.name}" for page in pages]})
    there = [page for source, page in PAGES.items() if (ROOT / source).exists()]
    config.nav.append({"Results": [page for page in there if page.startswith("results/")]})
    project = [page for page in there if page in ("changelog.md", "contributing.md")]
    config.nav.append({"Project": project})
    if "chinese.md" in there:
        config.nav[0]["Guide"].append({"中文": "chinese.md"})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Put the repository's pages among those of ``docs/``."""
    for source, page in PAGES.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are in the repository become links between pages of the site."""
    here = page.file.src_uri
    source = next((s for s, p in PAGES.items() if p == here), join("docs", here))

    def moved(link: re.Match[str]) -> str:
        text, path, anchor = link.groups()
        target = normpath(join(dirname(source), path))
        if target not in PAGES and not target.startswith("docs/") and (ROOT / target).exists():
            return text.strip("[]")  # a file of the repository that is no page of the site
        target = PAGES.get(target, target.removeprefix("docs/"))
        return f"{text}({relpath(target, dirname(here) or '.')}{anchor or ''})"

    return re.sub(r"(\[[^\]]*\])\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", moved, markdown)
