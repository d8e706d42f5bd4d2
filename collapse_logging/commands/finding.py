"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import dataclass

from ..words import word
from ..writers.base import printable


@dataclass(frozen=True)
class Finding:
    """A line of the doctor's.

    Attributes:
        ok: True fine, False a fault, None neither: something to know.
        text: what was found.
        mend: what to do about it, or what to paste.
    """

    ok: bool | None
    text: str
    mend: tuple[str, ...] = ()

    def lines(self, language: str = "en") -> list[str]:
        """A line with its mark, two columns wide, and below it what to do."""
        mark = word(language, f"mark {self.ok}")
        return [f"{mark}  {printable(self.text)}", *(f"    {printable(m)}" for m in self.mend)]
