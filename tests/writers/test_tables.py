"""The text of TensorBoard's alerts, rendered as TensorBoard renders it."""

from __future__ import annotations

import re

import pytest
from tensorboard.plugin_util import markdown_to_safe_html

from collapse_logging import Alert, Indicator, Level, Report
from collapse_logging.writers import TensorBoardWriter
from collapse_logging.writers.tables import alerts_table
from tests.lightning.readers import events, text

RAISED = (
    Indicator("information", 0.001824, 0.1),
    Indicator("growth", -43.31, -2.0),
    Indicator("kl", 0.0019, 0.01),
)
FORBIDDEN = ("<img", "<a ", "<script", "<h1", "<em", "<strong>z", "<code")


def test_the_table_is_compact() -> None:
    """A row is step, latent, change and names with values, two a line: no cell is wide."""
    alert = Alert(39, "z", Level.ORANGE, Level.RED, RAISED, 10, "stop")
    html = markdown_to_safe_html(alerts_table([alert]))
    cells = re.findall("<td>(.*)</td>", html.replace("&nbsp;", "\N{NO-BREAK SPACE}"))
    assert [cell.replace("\N{NO-BREAK SPACE}", "~") for cell in cells] == [
        "39",
        "z",
        "🔴~ORANGE~→~RED",
        "information~0.00182, growth~-43.3,<br>kl~0.0019",
    ]


def test_the_newest_alert_is_told_in_full() -> None:
    """Under the table: title, each reason as a bullet, the last healthy step, what to do."""
    older = Alert(9, "z", Level.OK, Level.ORANGE, RAISED[:1], 5, "wait")
    newest = Alert(39, "z", Level.ORANGE, Level.RED, RAISED, 5, "stop at once")
    html = markdown_to_safe_html(alerts_table([newest, older]))
    table, section = html.split("</table>")
    assert table.count("<tr>") == 3
    assert "Step 39: posterior collapse: z ORANGE -&gt; RED</strong>" in section
    assert section.count("<li>") == len(newest.lines) == 6
    assert "information 0.00182, below 0.1 nats: the latent carries almost nothing" in section
    assert "last healthy step: 5" in section
    assert "not confirmed by a decoder probe" in section
    assert "what to do: stop at once" in section
    assert "wait" not in section


def test_two_latents_at_one_check_are_both_told_in_full() -> None:
    """No reason is hidden because another latent changed at the same step."""
    alerts = [Alert(39, name, Level.OK, Level.RED, RAISED) for name in ("b", "a")]
    section = markdown_to_safe_html(alerts_table(alerts)).split("</table>")[1]
    assert section.count("Step 39: posterior collapse") == 2


def test_an_alert_without_reasons_says_what_it_is() -> None:
    """A recovery has no indicator, an explosion no change of level."""
    recovery = Alert(9, "z", Level.RED, Level.OK)
    assert "| 🟢&nbsp;RED&nbsp;→&nbsp;OK | recovery |" in alerts_table([recovery])
    burst = (Indicator("explosion", float("nan"), 0.0),)
    explosion = Alert(9, "z", Level.OK, Level.OK, burst, kind="explosion")
    assert "| 💥&nbsp;explosion | explosion&nbsp;nan |" in alerts_table([explosion])


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x>",
        "a|b",
        "`x`",
        "[l](http://x)",
        "![p](http://x.y/z.png)",
        "<http://x.y>",
        "a\n# b",
        "a\n\n| b | c | d | e |",
        "<script>alert(1)</script>",
        "_z_ *z* **z**",
        "&lt;img src=x&gt;",
        "\\`x\\`",
        "[z]\n\n[z]: http://x.y",
    ],
)
def test_names_cannot_smuggle_markup(name: str) -> None:
    """A name from outside is shown as it is: no picture, link, heading, row or cell of its own."""
    alert = Alert(1, name, Level.OK, Level.RED, RAISED[:1], None, name, checkpoint=name)
    html = markdown_to_safe_html(alerts_table([alert]))
    assert not [tag for tag in FORBIDDEN if tag in html]
    assert html.count("<td") == 4
    assert html.count("<tr") == 2
    assert html.count("<li") == len(alert.lines) == 5


def test_a_harmless_name_is_shown_as_it_is() -> None:
    """Escaping leaves no trace in what is read."""
    alert = Alert(1, "encoder.z_1 (a&b)", Level.OK, Level.RED)
    html = markdown_to_safe_html(alerts_table([alert]))
    assert "encoder.z_1 (a&amp;b) OK" in html
    assert "encoder.z_1\N{NO-BREAK SPACE}(a&amp;b)" in html.replace("&nbsp;", "\N{NO-BREAK SPACE}")


def test_only_the_newest_fifty_alerts_are_shown(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The table is cumulative and capped, so that a run with many alerts stays readable."""
    folder = tmp_path_factory.mktemp("board")
    writer = TensorBoardWriter(folder)
    for step in range(80):
        alert = Alert(step, "z", Level.OK, Level.YELLOW)
        writer.write(Report(step, step, Level.YELLOW, {}, (alert,)))
    writer.close()
    rows = text(events(folder), "collapse/alerts").splitlines()
    steps = [line.split("|")[1].strip() for line in rows if line.startswith("| ")]
    assert steps == ["step", *(str(step) for step in range(79, 29, -1))]
