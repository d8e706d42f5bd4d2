"""``docs/faults.md`` has a row for every fault, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBERS = range(1, 90)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
WHY_NONE = re.compile(r"^((GPU|cluster|documented|open): \S|issue \d+, \w+$)")
"""How a cell begins that names no test: why there is none."""


def rows(text: str) -> dict[int, list[str]]:
    """The table's cells by the fault's number."""
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    return {int(c[0]): c[1:] for c in cells if c[0].isdigit()}


def names_in(path: Path) -> set[str]:
    """The names of a file's tests, those that pytest would run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def wrong(text: str) -> list[str]:
    """What is missing in a table: rows, cells, reasons, files and tests."""
    found = rows(text)
    problems = [f"row {n} is missing" for n in NUMBERS if n not in found]
    for number, cells in found.items():
        if len(cells) != 3 or not all(cells):
            problems.append(f"row {number}: expected fault, promise and proof, got {cells}")
            continue
        named = NAMED.findall(cells[2])
        if not named and not WHY_NONE.match(cells[2]):
            problems.append(f"row {number}: names no test and no reason")
        for file, test in named:
            path = ROOT / file
            if not path.exists() or test not in names_in(path):
                problems.append(f"row {number}: there is no {file}::{test}")
    return problems


TABLE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def test_every_fault_has_its_row_and_its_proof() -> None:
    """All 89 rows are there; each names tests that exist, or says why there is none."""
    assert wrong(TABLE) == []
    assert rows(TABLE).keys() == set(NUMBERS)


def test_each_row_is_there_once() -> None:
    """A number that stands twice would hide a row."""
    numbers = re.findall(r"^\| (\d+) \|", TABLE, re.MULTILINE)
    assert [int(number) for number in numbers] == list(NUMBERS)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("", "row 7 is missing"),
        ("| 7 | fault | promise | `tests/test_files.py::test_gone` |", "no tests/test_files.py"),
        ("| 7 | fault | promise | `tests/gone.py::test_files` |", "there is no tests/gone.py"),
        ("| 7 | fault | promise | later |", "names no test and no reason"),
        ("| 7 | fault | promise | GPU: |", "names no test and no reason"),
        ("| 7 | fault |  | GPU: needs one |", "expected fault, promise and proof"),
    ],
)
def test_the_table_test_can_fail(row: str, told: str) -> None:
    """A missing row, a test that was renamed and an empty reason are found."""
    without = re.sub(r"^\| 7 \|.*$", row, TABLE, flags=re.MULTILINE)
    assert any(told in problem for problem in wrong(without))
