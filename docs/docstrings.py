"""An extension of griffe: docstrings as Python's own tools read them, for MkDocs."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).+)*", re.MULTILINE)
ROLE = re.compile(r":(?:class|meth|func|data|attr):`(?:~[\w.]*\.|\.+)?([\w.]+)`")


class Docstrings(Extension):
    """Doctests become blocks of code, and roles the names that they mean."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = DOCTEST.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
            obj.docstring.value = ROLE.sub(r"`\1`", text)
