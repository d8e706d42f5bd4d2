"""English and Chinese: one catalogue, and whole texts in either language."""

from __future__ import annotations

import dataclasses
import logging
import re
import string
from typing import Any

import pytest
from tensorboard.plugin_util import markdown_to_safe_html

from collapse_logging import Alert, CollapseMonitor, Indicator, Level, Report
from collapse_logging.messages import INDICATORS, alert_title, describe, verdict
from collapse_logging.words import (
    LANGUAGES,
    catalogue,
    default_language,
    known_language,
    word,
)
from collapse_logging.writers import LogWriter, MemoryWriter, TensorBoardWriter
from collapse_logging.writers.about import about
from collapse_logging.writers.dashboard import layout
from collapse_logging.writers.limit import AlertLimit, Message
from collapse_logging.writers.log import one_line
from collapse_logging.writers.tables import alerts_table
from tests.lightning.readers import events, text
from tests.writers.conftest import drive

EN, ZH = catalogue("en"), catalogue("zh")
ENGLISH = [phrase for phrase in EN.values() if re.fullmatch(r"[a-zA-Z,.]+( [a-zA-Z,.]+)+", phrase)]
"""Phrases without a value in them: one of them in a Chinese text is a word forgotten."""


def placeholders(phrase: str) -> list[tuple[str | None, ...]]:
    """Names and formats of a phrase's values, in the order of their names."""
    fields = ((name, spec, kind) for _, name, spec, kind in string.Formatter().parse(phrase))
    return sorted((field for field in fields if field[0] is not None), key=str)


@pytest.fixture(scope="module")
def chinese() -> list[Report]:
    """Twelve checks of a collapse, of a detector that speaks Chinese."""
    memory = MemoryWriter()
    drive([memory], language="zh", optional=["b"], latents=("z", "b"))
    return memory.reports


def test_both_catalogues_have_the_same_keys() -> None:
    """No text is missing in a language."""
    assert EN.keys() == ZH.keys()
    parts = ("ALERTS", "ABOUT", "COMMANDS")
    modules = [__import__(f"collapse_logging.words.{name}", fromlist=parts) for name in MODULES]
    sizes = [len(getattr(module, part)) for module, part in zip(modules, parts * 2, strict=True)]
    assert sum(sizes) == len(EN) + len(ZH), "a key is in two parts of a catalogue"


MODULES = ("en", "en_about", "en_commands", "zh", "zh_about", "zh_commands")


@pytest.mark.parametrize("key", EN)
def test_a_text_takes_the_same_values_in_both_languages(key: str) -> None:
    """Same names and same formats, whatever their order; only the width of a step differs."""
    english, chinese = ([p[:2] for p in placeholders(say[key])] for say in (EN, ZH))
    if key == "demo step":
        english, chinese = [("", "")], [("", "")]
    assert english == chinese
    assert bool(EN[key]) == bool(ZH[key])


@pytest.mark.parametrize("key", ZH)
def test_chinese_has_its_own_punctuation(key: str) -> None:
    """No half-width comma, colon, bracket or question mark touches a Chinese letter."""
    assert not re.findall(r"[\u4e00-\u9fff][,;:?!()]|[,;:?!()][\u4e00-\u9fff]", ZH[key])
    assert not re.findall(r"\s[，。；：（）]|[，。；：（）] ", ZH[key])


def test_no_chinese_sentence_is_broken() -> None:
    """Markdown would make a space of a line's end: every line of the text is whole."""
    lines = ZH["about views"].splitlines()
    assert all(not line or line.startswith(("- ", "**")) for line in lines)
    assert [line for line in EN["about views"].splitlines() if line.startswith("  ")]


def test_the_manuals_names() -> None:
    """Levels are called as in the manual, in their order."""
    names = ["正常", "黄色警告", "橙色警告", "红色警报"]
    assert [word("zh", level.name) for level in Level] == names
    assert [word("en", level.name) for level in Level] == [level.name for level in Level]


@pytest.mark.parametrize("variable", ["LC_ALL", "LC_MESSAGES", "LANG"])
@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh_CN.UTF-8", "zh"),
        ("zh_CN.GBK", "zh"),
        ("zh_TW", "zh"),
        ("C", "en"),
        ("C.UTF-8", "en"),
        ("de_DE.UTF-8", "en"),
        ("en_US.UTF-8", "en"),
    ],
)
def test_the_environment_decides(
    variable: str, locale: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chinese where the locale is, English for everything else; an argument beats it."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, locale)
    assert default_language() == known_language(None) == language
    assert known_language("en") == "en"
    with pytest.raises(ValueError, match="language: expected one of .*'zh'"):
        known_language("fr")


def test_a_detector_speaks_the_environments_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument, alerts and the settings for writers follow the locale."""
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    memory = MemoryWriter()
    drive([memory])
    alerts = [alert for report in memory.reports for alert in report.alerts]
    assert {alert.language for alert in alerts} == {"zh"}
    assert "后验塌缩：z " in alerts[-1].title
    assert alerts[-1].title.endswith(" -> 红色警报")


def test_no_english_is_left_in_a_chinese_text(chinese: list[Report]) -> None:
    """Log lines, alerts, the table of alerts, the text about, and the verdict are all Chinese."""
    alerts = [alert for report in chinese for alert in report.alerts]
    texts = [one_line(report, "zh") for report in chinese]
    texts += [alert.text for alert in alerts]
    texts += [alerts_table(alerts), about({"language": "zh"}), verdict(chinese[-1], "zh")]
    for said in texts:
        assert re.search("[\u4e00-\u9fff]", said)
        assert not [phrase for phrase in ENGLISH if phrase in said]
        assert not re.search("OK|YELLOW|ORANGE|RED", said)


def test_that_test_can_fail(chinese: list[Report]) -> None:
    """The same texts in English have such phrases."""
    assert len(ENGLISH) > 50
    report = dataclasses.replace(chinese[-1].alerts[0] if chinese[-1].alerts else ALERT)
    said = dataclasses.replace(report, language="en").text + about({})
    assert len([phrase for phrase in ENGLISH if phrase in said]) > 10


ALERT = Alert(39, "z", Level.ORANGE, Level.RED, (Indicator("information", 0.0018, 0.5),))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_is_a_sentence(name: str, language: str) -> None:
    """Name, value, limit and meaning, in any language."""
    said = describe(Indicator(name, 0.125, 0.25), language)
    assert said.startswith(f"{name} 0.125")
    assert "0.25" in said
    assert said.endswith(catalogue(language)[name])


@pytest.mark.parametrize("kind", ["collapse", "explosion"])
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_title_is_at_most_63_characters(language: str, optional: bool, kind: str) -> None:
    """Whatever the levels and however long the name; one of ten letters is never cut."""
    for previous in Level:
        for level in set(Level) - {previous}:
            changed = {"previous": previous, "level": level, "optional": optional, "kind": kind}
            alert = dataclasses.replace(ALERT, latent="encoder.z1", language=language, **changed)
            end = "encoder.z1" if kind == "explosion" else word(language, level.name)
            assert alert_title(alert).endswith((end, word(language, "optional", latent="")))
            assert len(alert_title(alert)) <= 63
            assert len(alert_title(dataclasses.replace(alert, latent="长" * 99))) == 63


def test_the_log_speaks_chinese(caplog: pytest.LogCaptureFixture, tmp_path: Any) -> None:
    """A monitor's own log writer: checks, alerts with the manual's signs and names, how to look."""
    with caplog.at_level(logging.INFO, "collapse_logging"):
        drive([TensorBoardWriter(tmp_path)], language="zh", verbose=True)
    assert "第 5 步 🟢 正常     z：信息量 " in caplog.text
    assert re.search(r"🔴 红色警报 z：信息量 [\d.e-]+，KL .* \| 重构损失 1\.\d+\n", caplog.text)
    assert re.search(r"🔴 第 \d+ 步：后验塌缩：z .* -> 红色警报\n", caplog.text)
    assert "  - 最后一次健康的步数：20\n" in caplog.text
    assert "  - 处理建议：立即停止训练" in caplog.text
    assert f"查看方法：tensorboard --logdir {tmp_path}\n  面板：http" in caplog.text


def test_the_log_is_english_until_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A writer that was never opened, as in a test of the user's own, speaks English."""
    with caplog.at_level(logging.INFO, "collapse_logging"):
        LogWriter(log_dir="runs").write(Report(5, 0, Level.OK, {}))
    assert "step 5 🟢 OK" in caplog.text
    assert "to see it: tensorboard --logdir runs" in caplog.text


def test_the_table_of_alerts_speaks_chinese(chinese: list[Report]) -> None:
    """Head, change of level, and below it the newest alert in full, as TensorBoard shows it."""
    alerts = [alert for report in chinese for alert in report.alerts][::-1]
    html = markdown_to_safe_html(alerts_table(alerts)).replace("&nbsp;", "\N{NO-BREAK SPACE}")
    assert re.findall("<th>(.*?)</th>", html) == ["步数", "潜在变量", "级别变化", "原因"]
    assert f"{alerts[0].level.emoji}\N{NO-BREAK SPACE}" in html
    assert "→\N{NO-BREAK SPACE}红色警报" in html
    assert "步：后验塌缩：" in html
    assert "<li>处理建议：" in html
    recovery = Alert(9, "z", Level.RED, Level.OK, language="zh")
    assert "| 🟢&nbsp;红色警报&nbsp;→&nbsp;正常 | 恢复正常 |" in alerts_table([recovery])
    explosion = dataclasses.replace(ALERT, kind="explosion", language="zh")
    assert "💥&nbsp;数值发散" in alerts_table([explosion])


def test_tensorboard_gets_chinese_texts(tmp_path: Any) -> None:
    """The files that a Chinese detector leaves: about, alerts, and the dashboard's titles."""
    drive([TensorBoardWriter(tmp_path)], language="zh")
    found = events(tmp_path)
    assert "**看哪里**" in text(found, "collapse/about")
    assert "| language | zh |" in text(found, "collapse/about")
    assert "后验塌缩：z " in text(found, "collapse/alerts")
    (file,) = (tmp_path / "collapse" / "dashboard").glob("*tfevents*")
    assert "z：信息量与 KL 散度（nat）".encode() in file.read_bytes()


@pytest.mark.parametrize("latents", [["z"], ["a", "b"]])
def test_the_dashboard_has_the_same_charts(latents: list[str]) -> None:
    """Titles differ between the languages, charts do not, and no title is there twice."""
    english, chinese = (layout(latents, "mine", language) for language in ("en", "zh"))
    for there, here in zip(english.values(), chinese.values(), strict=True):
        assert list(there.values()) == list(here.values())
        assert len(there) == len(here)
        assert not there.keys() & here.keys()
    assert next(iter(chinese)) == "后验塌缩（mine）"


def test_messages_to_people_are_chinese() -> None:
    """Several changes at once, and that nothing more will be sent."""
    got: list[Message] = []
    seconds = [0.0]
    limit = AlertLimit(got.append, lambda: seconds[0])
    red = dataclasses.replace(ALERT, language="zh")
    limit.send([red, dataclasses.replace(red, latent="y")])
    assert got[0].title == "后验塌缩：y 橙色警告 -> 红色警报（另有 1 条）"
    assert got[0].text.startswith("第 39 步：后验塌缩：z ")
    for step in range(40, 70):
        seconds[0] += 100.0
        limit.send([dataclasses.replace(red, step=step, level=Level.YELLOW)])
    assert got[-1].title == "后续警报不再发送"
    assert "红色警报最多还会发送 5 条" in got[-1].text
    assert all(len(message.title) <= 63 for message in got)


def test_the_settings_say_the_language() -> None:
    """What W&B's config, the ledger and TensorBoard's about are made of."""
    with pytest.raises(ValueError, match="language: expected one of"):
        CollapseMonitor(language="cn")
