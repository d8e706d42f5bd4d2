"""The catalogue of words in English and Chinese: every text that people read, by key."""

from __future__ import annotations

import functools
import importlib
import locale
import os
from collections.abc import Mapping

from ..arguments import require_one_of

LANGUAGES = ("en", "zh")


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """All texts of a language by key; read when the first is wanted."""
    alerts, about, commands = (
        importlib.import_module(f".{language}{part}", __name__)
        for part in ("", "_about", "_commands")
    )
    return {**alerts.ALERTS, **about.ABOUT, **commands.COMMANDS}


def word(language: str, key: str, **values: object) -> str:
    """A text of the catalogue with its values filled in."""
    return catalogue(language)[key].format(**values)


def default_language() -> str:
    """``"zh"`` where the environment's locale is Chinese, else ``"en"``."""
    names = [os.environ.get(n) for n in ("LC_ALL", "LC_MESSAGES", "LANG")]
    spoken = next((name for name in names if name), None) or locale.getlocale()[0] or ""
    return "zh" if spoken.lower().startswith(("zh", "chinese")) else "en"


def known_language(language: str | None) -> str:
    """The language itself, or the environment's for None.

    Raises:
        ValueError: there is no catalogue of it.
    """
    chosen = default_language() if language is None else language
    require_one_of("language", chosen, LANGUAGES)
    return chosen
