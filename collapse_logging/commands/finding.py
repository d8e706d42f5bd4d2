"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import dataclass

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

    def lines(self) -> list[str]:
        """A line with its mark, and below it what to do."""
        mark = {True: "ok", False: "NO", None: "--"}[self.ok]
        return [f"{mark}  {printable(self.text)}", *(f"    {printable(m)}" for m in self.mend)]
