"""SECURITY.md: each promise has a test that is there, and the README leads to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once  # it reads a document
HOME = Path(__file__).parent.parent
TEXT = (HOME / "SECURITY.md").read_text(encoding="utf-8")
THREATS = TEXT.partition("## Threats, promises, tests\n")[2].partition("\n## ")[0]
ROWS = [line for line in THREATS.splitlines() if line.startswith("| ") and "---" not in line][1:]


def test_there_are_promises() -> None:
    assert len(ROWS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_promise_has_its_test(row: str) -> None:
    threat, promise, tests = (cell.strip() for cell in row.strip("|").split("|"))
    assert threat
    assert promise
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", tests)
    assert named
    for path, function in named:
        source = (HOME / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {function or 'test_'}", source, re.MULTILINE), (path, function)


def test_what_was_run_can_be_run_again() -> None:
    for name in re.findall(r"`(scripts/\w+)", TEXT):
        assert (HOME / name).is_file(), name


def test_the_readme_leads_here() -> None:
    assert "SECURITY.md" in (HOME / "README.md").read_text(encoding="utf-8")
