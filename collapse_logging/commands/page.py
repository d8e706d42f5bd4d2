"""The report as one HTML page: no network, no script, everything from outside escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from string import Template

from ..report import Alert
from ..writers.base import printable, sign
from .runs import Run
from .words import (
    change,
    first_red,
    last_healthy,
    level_of,
    meaning,
    place,
    reasons,
    unknown,
    what_to_do,
)

_MOST_ALERTS = 500
_CLASSES = {"collapsed": "red", "at risk": "orange", "healthy": "ok", "cannot tell": "grey"}

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #23272e; margin: 0 auto; padding: 24px;
       max-width: 1080px; }
h1 { font-size: 22px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 32px 0 8px; }
p { margin: 4px 0; }
img { width: 100%; height: auto; }
section { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; min-width: 560px; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 0;
         border-bottom: 1px solid #e6e8eb; overflow-wrap: break-word; }
th:last-child, td:last-child { width: 60%; }
th { color: #5f6670; font-weight: 600; white-space: nowrap; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
.grey { color: #5f6670; }
.verdict { display: inline-block; padding: 2px 12px; border-radius: 12px; color: #fff;
           font-weight: 600; margin: 8px 0; background: #5f6670; }
.verdict.red { background: #cc2f32; } .verdict.ok { background: #2f8a50; }
.verdict.orange { background: #ee8130; color: #23272e; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="grey">$place</p>
<p><span class="verdict $colour">$verdict</span></p>
$why
<img alt="Levels and measures over training steps" src="data:image/png;base64,$picture">
$tables
</body>
</html>
""")


def page(run: Run, picture: bytes) -> str:
    """The page.

    Args:
        run: with one check or more.
        picture: the monitoring plot, a PNG.
    """
    recording, verdict = run.recording, run.verdict
    latents = recording.report.latents if recording.report is not None else {}
    red = first_red(recording)
    facts = [
        unknown(verdict) if verdict.why else "",
        f"First red at step {red}." if red is not None else "",
        f"Last healthy step: {last_healthy(recording)}.",
        f"What to do: {what_to_do(recording)}." if what_to_do(recording) else "",
    ]
    tables = [
        _table(
            "Latents at the newest check",
            ("latent", "level", "why"),
            (
                (name, level_of(recording, name), reasons(latents[name]))
                for name in sorted(latents, key=lambda name: -latents[name].level)
            ),
        ),
        _alerts(recording.alerts),
        _table("Settings", ("setting", "value"), ((k, v) for k, v in recording.settings.items())),
    ]
    return _PAGE.substitute(
        title=escape(printable(run.name)),
        place=escape(place(recording)),
        colour=_CLASSES[verdict.word],
        verdict=escape(verdict.word),
        why="\n".join(f"<p>{escape(fact)}</p>" for fact in facts if fact),
        picture=base64.b64encode(picture).decode("ascii"),
        tables="\n".join(tables),
    )


def _alerts(alerts: Sequence[Alert]) -> str:
    newest = alerts[::-1][:_MOST_ALERTS]
    more = f", the newest {_MOST_ALERTS} of {len(alerts)}" if len(alerts) > len(newest) else ""
    return _table(
        f"Alerts{more}",
        ("step", "latent", "change", "why"),
        (
            (a.step, a.latent, f"{sign(a)} {change(a)}", [meaning(i) for i in a.indicators])
            for a in newest
        ),
        empty="None: the level never changed.",
    )


def _table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[object]], empty: str = ""
) -> str:
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    if not body:
        return f"<h2>{escape(title)}</h2>\n<p>{escape(empty)}</p>" if empty else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    whole = f"<table>\n<tr>{head}</tr>\n{body}\n</table>"
    return f"<h2>{escape(title)}</h2>\n<section>\n{whole}\n</section>"


def _cell(value: object) -> str:
    parts = value if isinstance(value, list) else [value]
    text = "<br>".join(escape(printable(str(part))) for part in parts)
    return f"<td{' class=number' if isinstance(value, int) else ''}>{text}</td>"
