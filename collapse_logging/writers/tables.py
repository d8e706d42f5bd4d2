"""Markdown for TensorBoard's text tab: the table of alerts."""

from __future__ import annotations

from collections.abc import Sequence

from ..messages import alert_head
from ..report import Alert
from ..words import word
from .base import escape, sign


def alerts_table(alerts: Sequence[Alert]) -> str:
    """All alerts as one table, newest first as given, and those of the newest check in full below.

    One text an alert would lose alerts in both of TensorBoard's loaders; a table that is
    written whole each time does not. Its cells have two values a line: TensorBoard's style sheet
    lets words break anywhere, so one long cell squeezes the others to a character a line.
    """
    language = alerts[0].language
    head = [word(language, f"table {column}") for column in ("step", "latent", "change", "why")]
    rows = ["| " + " | ".join(head) + " |", "|---|---|---|---|"]
    rows += ["| " + " | ".join(_cells(alert)) + " |" for alert in alerts]
    for alert in alerts:
        if alert.step == alerts[0].step:
            rows += ["", *_in_full(alert)]
    return "\n".join(rows)


def _cells(alert: Alert) -> tuple[str, str, str, str]:
    if alert.kind == "collapse":
        levels = [word(alert.language, level.name) for level in (alert.previous, alert.level)]
        change = " → ".join(levels)
    else:
        change = alert_head(alert)
    values = [_unbroken(f"{i.name} {i.value:.3g}") for i in alert.indicators]
    lines = [", ".join(values[start : start + 2]) for start in range(0, len(values), 2)]
    return (
        str(alert.step),
        _unbroken(alert.latent),
        _unbroken(f"{sign(alert)} {change}"),
        ",<br>".join(lines) or escape(alert_head(alert)),
    )


def _in_full(alert: Alert) -> list[str]:
    title = alert.text.split("\n", 1)[0]
    return [f"**{sign(alert)} {escape(title)}**", "", *(f"- {escape(x)}" for x in alert.lines)]


def _unbroken(text: str) -> str:
    return escape(text).replace(" ", "&nbsp;")
