"""The commands in Chinese: by option, by environment, on a terminal and in a picture."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collapse_logging.cli import main
from collapse_logging.commands.report import _drawn_in
from collapse_logging.report import Level
from collapse_logging.terminal import columns
from collapse_logging.words import catalogue, word

from .terminal import lines_of, on_a_terminal
from .test_report import Page

EN, ZH = catalogue("en"), catalogue("zh")
ENGLISH = [phrase for phrase in EN.values() if re.fullmatch(r"[a-zA-Z,.]+( [a-zA-Z,.]+)+", phrase)]
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG", "LC_CTYPE")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """A command's exit code and stdout; nothing may have gone to stderr."""
    code = main([*arguments, "--language", "zh"])
    found = capsys.readouterr()
    assert found.err == ""
    return code, found.out


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command in a process with this environment instead of a locale of our own."""
    kept = {name: value for name, value in os.environ.items() if name not in LOCALES}
    command = [sys.executable, "-m", "collapse_logging", *arguments]
    return subprocess.run(command, capture_output=True, timeout=300, env={**kept, **environment})


def test_one_run_is_told_in_chinese(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verdict, level with the manual's sign and name, reasons, advice; and the same exit code."""
    code, text = printed(capsys, "check", str(sweep / "a_collapsed"))
    lines = text.splitlines()
    assert code == 1
    assert lines[0] == "已塌缩：sweep/a_collapsed"
    assert re.fullmatch(r"第 60 步，12 次检查，\d 条警报（来源：ledger 记录）", lines[1])
    assert re.search(r"^  z：🔴 红色警报，自第 \d+ 步起$", text, re.MULTILINE)
    assert "低于 0.5 nat：信息量过低，潜在变量几乎不携带关于数据的信息" in text
    assert "最后一次健康的步数：20" in lines
    assert lines[-1].startswith("处理建议：立即停止训练，")
    assert not [phrase for phrase in ENGLISH if phrase in text]


def test_a_table_keeps_its_columns(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wide letters and emoji count two: every cell begins at its heading's column."""
    code, text = printed(capsys, "check", str(sweep))
    header, *rows = text.splitlines()
    rows, notes = rows[:5], rows[6:]
    assert code == 1
    assert header.split() == ["结论", "级别", "步数", "信息量", "潜在变量", "训练"]
    starts = {columns(row[: row.rindex("  ")]) for row in (header, *rows)}
    assert len(starts) == 1
    assert rows[0].startswith("已塌缩    🔴 红色警报")
    assert re.match("5 次训练：[23] 次已塌缩，", notes[0])
    assert notes[1] == "d_begun：还没有写入任何检查结果，或结果无法读取"


def test_json_is_the_same_but_for_what_people_read(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script finds the same words in any language; reasons, why and advice are Chinese."""
    _, text = printed(capsys, "check", str(sweep), "--json")
    main(["check", str(sweep), "--json", "--language", "en"])
    chinese, english = json.loads(text), json.loads(capsys.readouterr().out)
    for here, there in zip(chinese["runs"], english["runs"], strict=True):
        for run in (here, there):
            for latent in run["latents"].values():
                latent["reasons"] = len(latent["reasons"])
        texts = {"why", "advice"}
        assert {k: v for k, v in here.items() if k not in texts} == {
            k: v for k, v in there.items() if k not in texts
        }
    assert chinese["runs"][0]["advice"].startswith("立即停止训练")


@pytest.mark.parametrize(
    ("locale", "chinese"),
    [("zh_CN.UTF-8", True), ("C", False), ("de_DE.UTF-8", False), ("", False)],
)
def test_the_environment_decides(sweep: Path, locale: str, chinese: bool) -> None:
    """``LANG`` alone; ``--language`` beats it."""
    path = str(sweep / "a_collapsed")
    language = {"LANG": locale, "PYTHONUTF8": "1"}
    said = run("check", path, **language)
    assert said.returncode == 1
    assert said.stdout.decode().startswith("已塌缩：" if chinese else "COLLAPSED: ")
    other = run("check", path, "--language", "en" if chinese else "zh", **language)
    assert other.stdout.decode().startswith("COLLAPSED: " if chinese else "已塌缩：")


def test_a_terminal_of_gbk_is_spoken_to(sweep: Path) -> None:
    """Its letters have no emoji; Chinese and the exit code come through all the same."""
    said = run("check", str(sweep), LANG="zh_CN.GBK", PYTHONIOENCODING="gbk")
    assert (said.returncode, said.stderr) == (1, b"")
    assert "已塌缩    ? 红色警报" in said.stdout.decode("gbk")


def test_a_narrow_terminal_wraps_between_letters(sweep: Path) -> None:
    """On 50 columns no line is longer, and nothing is lost."""
    arguments = ["check", str(sweep / "a_collapsed"), "--language", "zh"]
    _, screen = on_a_terminal(*arguments, width=50)
    lines = lines_of(screen)
    assert max(map(columns, lines)) <= 50
    whole = run(*arguments, PYTHONUTF8="1").stdout.decode()
    assert "".join("".join(lines).split()) == "".join(whole.split())


def test_the_doctor_speaks_chinese(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder, of one that is not there, and of a model."""
    _, text = printed(capsys, "doctor", str(sweep / "a_collapsed"))
    assert text.startswith("✅  sweep/a_collapsed 存在，其中有：ledger 记录 1 个。\n")
    assert "第 60 步，12 次检查，" in text
    code, wrong = printed(capsys, "doctor", "sweap")
    assert code == 2
    assert wrong.startswith("❌  sweap 不存在。\n    是否想用 ")
    model = ("doctor", "--model", "tests.parts:VAE", "--input-shape", "6")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    code, model_text = printed(capsys, *model)
    assert code == 0
    assert "✅  潜在变量 'encoder'：mean 和 log_variance 的形状为 [8, 3]。" in model_text
    for said in (text, wrong, model_text):
        assert not [phrase for phrase in ENGLISH if phrase in said]


def test_the_page_is_chinese(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it is written in stands in its head, and no English phrase is left."""
    pytest.importorskip("matplotlib")
    folder = sweep / "a_collapsed"
    code, text = printed(capsys, "report", str(folder))
    assert (code, text.splitlines()[0]) == (0, "已塌缩：sweep/a_collapsed")
    page = Page(folder / "collapse_report.html")
    assert ("html", {"lang": "zh-CN"}) in page.tags
    for part in (
        "已塌缩",
        "步首次出现红色警报。",
        "最后一次健康的步数：20。",
        "→ 红色警报",
        "级别变化",
    ):
        assert part in page.text
    assert not [phrase for phrase in ENGLISH if phrase in page.text]


def test_every_letter_of_the_picture_is_in_a_font() -> None:
    """No box: the fonts that are drawn with have every letter that the catalogue can put there."""
    pytest.importorskip("matplotlib")
    from matplotlib import font_manager

    from collapse_logging.commands.figure import chinese_fonts

    if not chinese_fonts():
        pytest.skip("no font with Chinese letters; apt-get install fonts-noto-cjk")
    texts = [text for key, text in ZH.items() if key.startswith("figure ")]
    texts += [ZH[level.name] for level in Level] + [word("zh", "collapsed")]
    for weight in ("normal", "bold"):
        known: set[int] = set()
        for family in ("DejaVu Sans", *chinese_fonts()):
            wanted = font_manager.FontProperties(family=family, weight=weight)
            known |= set(font_manager.get_font(font_manager.findfont(wanted)).get_charmap())
        assert not set(map(ord, "".join(texts))) - known
        assert ord("\N{LARGE RED CIRCLE}") not in known  # so the test can fail


def test_without_a_font_the_picture_is_english_and_it_is_said_once(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture as in English, the page still Chinese, and which package is missing."""
    pytest.importorskip("matplotlib")
    from matplotlib import font_manager

    path = sweep / "a_collapsed"
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["DejaVu Sans"])
    main(["report", str(sweep), "--language", "en"])
    english = (path / "collapse_report.png").read_bytes()
    capsys.readouterr()
    _drawn_in.cache_clear()
    main(["report", str(sweep), "--language", "zh"])
    _drawn_in.cache_clear()
    errors: Any = capsys.readouterr().err
    assert errors.count("apt-get install fonts-noto-cjk") == 1
    assert (path / "collapse_report.png").read_bytes() == english
    assert "已塌缩" in Page(path / "collapse_report.html").text


def test_the_demo_fits_on_a_chinese_terminal(tmp_path: Path) -> None:
    """On 80 columns a status is one line, and its columns stand below each other."""
    pytest.importorskip("rich")
    pytest.importorskip("sklearn")
    out = str(tmp_path / "demo")
    demo = ("demo", "--steps", "150", "--out", out, "--language", "zh")
    lines = lines_of(on_a_terminal(*demo, width=80)[1])
    states = [line for line in lines if re.match("[🟢🟡🟠🔴] [正黄橙红]", line.strip())]
    assert len(states) >= 4
    assert max(map(columns, states)) <= 80
    for mark in (" 第 ", "信息量", "KL", "增长"):
        assert len({columns(line[: line.index(mark)]) for line in states}) == 1
    text = "\n".join(lines)
    assert "averaged：重构损失对像素取平均：KL 的分量压过了它" in text
    assert any(line.endswith("（结束）") for line in states)
    assert "并排查看两次训练：" in text
    assert not [phrase for phrase in ENGLISH if phrase in text]
