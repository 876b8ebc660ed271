"""The dialects that a rule file, a name and a tower leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from vit_convert.architectures.base import Tower
from vit_convert.dialects import chosen, dialects
from vit_convert.errors import UsageError


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text('name = "mine"\n[rename]\n"token" = "cls_token"\n')
    return tmp_path / "mine.toml"


def test_nothing_stated_leaves_all_of_pictures_or_those_of_texts() -> None:
    assert chosen(None, None) is None
    assert chosen(None, None, "image") is None
    assert chosen(None, None, "text") == list(dialects("text"))


@pytest.mark.parametrize("tower", [None, "image"])
def test_a_name_leaves_those_of_that_name(tower: Tower | None) -> None:
    found = chosen(None, "timm", tower)
    assert found is not None
    assert {(d.name, d.architecture) for d in found} == {("timm", "vit"), ("timm", "cait")}


def test_a_rule_file_leaves_its_own(rules: Path) -> None:
    for tower in (None, "image"):
        found = chosen(rules, None, tower)
        assert found is not None
        assert [d.name for d in found] == ["mine"]


@pytest.mark.parametrize(("name", "tower"), [("timm", "text"), ("clip-text", "image")])
def test_a_name_of_another_tower_is_refused(name: str, tower: Tower) -> None:
    with pytest.raises(UsageError, match=f"{name} is no naming scheme of {tower} towers") as caught:
        chosen(None, name, tower)
    assert str(caught.value.expected).split(", ") == [d.name for d in dialects(tower)]


def test_a_rule_file_of_another_tower_is_refused(rules: Path) -> None:
    with pytest.raises(UsageError, match="mine is no naming scheme of text towers"):
        chosen(rules, None, "text")


def test_both_and_neither_of_what_is_known_are_refused(rules: Path) -> None:
    with pytest.raises(UsageError, match="both are given"):
        chosen(rules, "timm")
    with pytest.raises(UsageError, match="no dialect is called 'klingon'"):
        chosen(None, "klingon")
