"""Text on a terminal, where a Chinese letter takes two columns."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_logging.terminal import columns, padded, wrapped

CHINESE = (
    "处理建议：立即停止训练，从塌缩之前的检查点（checkpoint）重新开始；降低 beta，或放慢预热。"
)
words = st.lists(st.text("abcdefgh.", min_size=1, max_size=12), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "width"), [("z", 1), ("塌缩", 4), ("，", 2), ("🔴 RED", 6), ("½ σ²", 4), ("", 0)]
)
def test_wide_letters_take_two_columns(text: str, width: int) -> None:
    """Chinese letters, their punctuation and emoji do; Greek letters do not."""
    assert columns(text) == width
    assert columns(padded(text, 9)) == columns(padded(text, 9, right=True)) == 9
    assert padded(text, 9).startswith(text)
    assert padded(text, 9, right=True).endswith(text)


@given(words, st.integers(12, 60))
def test_english_is_wrapped_as_the_standard_library_does(text: list[str], width: int) -> None:
    """At spaces, and a long word stays whole."""
    line = " ".join(text)
    assert wrapped(line, width, "  ") == textwrap.wrap(
        line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


@given(st.text("塌缩（），。a b", min_size=1, max_size=60), st.integers(14, 40))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, width: int) -> None:
    """Whatever is mixed, all letters are there in their order, in lines that fit."""
    lines = wrapped(text, width, break_words=True)
    assert "".join("".join(lines).split()) == "".join(text.split())
    if "（（" not in text and not any(a + b in text for a in "，。）" for b in "，。）"):
        assert max(map(columns, lines)) <= width


@pytest.mark.parametrize("width", range(24, 60))
def test_chinese_is_wrapped_between_letters(width: int) -> None:
    """Lines are full; no line begins with a comma or ends with an opening bracket."""
    lines = wrapped("  " + CHINESE, width, "    ")
    assert all(columns(line) <= width for line in lines)
    assert all(columns(line) > width - 14 for line in lines[:-1])
    assert not any(line.strip().startswith(tuple("，。；：）")) for line in lines)
    assert not any(line.endswith("（") for line in lines)
    assert lines[0].startswith("  处")
    assert all(line.startswith("    ") for line in lines[1:])
    assert "".join("".join(lines).split()) == "".join(CHINESE.split())


def test_a_long_word_may_be_cut() -> None:
    """Where a table would be torn by it."""
    assert wrapped("a " + "b" * 25, 10, break_words=True) == ["a", "b" * 10, "b" * 10, "b" * 5]
    assert wrapped("a " + "b" * 25, 10) == ["a", "b" * 25]
