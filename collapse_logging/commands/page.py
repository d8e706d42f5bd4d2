"""The report as one HTML page: no network, no script, everything from outside escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from string import Template

from ..reading import Recording
from ..report import Alert
from ..words import word
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
<html lang="$language">
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
<img alt="$alt" src="data:image/png;base64,$picture">
$tables
</body>
</html>
""")


def page(run: Run, picture: bytes, language: str = "en") -> str:
    """The page.

    Args:
        run: with one check or more.
        picture: the monitoring plot, a PNG.
        language: of every word that is ours.
    """
    say = partial(word, language)
    recording, verdict = run.recording, run.verdict
    tables = [
        _latents(recording, language),
        _alerts(recording.alerts, language),
        _table(
            say("page settings"),
            (say("about setting"), say("about value")),
            ((k, v) for k, v in recording.settings.items()),
        ),
    ]
    return _PAGE.substitute(
        language=say("page language"),
        title=escape(printable(run.name)),
        place=escape(place(recording, language)),
        colour=_CLASSES[verdict.word],
        verdict=escape(say(verdict.word)),
        why="\n".join(f"<p>{escape(fact)}</p>" for fact in _facts(run, language)),
        alt=escape(say("page picture")),
        picture=base64.b64encode(picture).decode("ascii"),
        tables="\n".join(tables),
    )


def _facts(run: Run, language: str) -> list[str]:
    recording, verdict, red = run.recording, run.verdict, first_red(run.recording)
    facts = [unknown(verdict, language)] if verdict.why else []
    if red is not None:
        facts.append(word(language, "page first red", step=red))
    facts.append(word(language, "page last healthy", step=last_healthy(recording, language)))
    if told := what_to_do(recording, language):
        facts.append(word(language, "page what to do", advice=told))
    return facts


def _latents(recording: Recording, language: str) -> str:
    latents = recording.report.latents if recording.report is not None else {}
    return _table(
        word(language, "page latents"),
        [word(language, f"table {name}") for name in ("latent", "level", "why")],
        (
            (name, level_of(recording, name, language), reasons(latents[name], language))
            for name in sorted(latents, key=lambda name: -latents[name].level)
        ),
    )


def _alerts(alerts: Sequence[Alert], language: str) -> str:
    newest, title = alerts[::-1][:_MOST_ALERTS], word(language, "page alerts")
    if len(alerts) > len(newest):
        title = word(language, "page newest alerts", most=_MOST_ALERTS, count=len(alerts))
    return _table(
        title,
        [word(language, f"table {name}") for name in ("step", "latent", "change", "why")],
        (
            (
                a.step,
                a.latent,
                f"{sign(a)} {change(a, language)}",
                [meaning(i, language) for i in a.indicators],
            )
            for a in newest
        ),
        empty=word(language, "page no alerts"),
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
