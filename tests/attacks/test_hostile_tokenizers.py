"""A tokenizer.json of somebody else costs little: what it makes the library do ends, in a process
of its own, in an error that a user can act on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vit_convert.errors import CheckpointError, VitConvertError
from vit_convert.runtime.limits import VARIABLE
from vit_convert.words.tokenizer import read_tokenizer

VOCABULARY = {letter: index for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
SPECIAL = {"<|startoftext|>": 26, "<|endoftext|>": 27}


def tokenizer(folder: Path, vocabulary: dict[str, int] = VOCABULARY, **parts: Any) -> Path:
    """A folder with a tokenizer whose words are letters, and with the parts that are given."""
    model = {"type": "WordLevel", "vocab": vocabulary | SPECIAL, "unk_token": "a"}
    whole = {"version": "1.0", "added_tokens": [], "model": model} | parts
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    return folder


def tokens(folder: Path, text: str, vocab_size: int = 28) -> list[int]:
    found: list[int] = read_tokenizer(folder, 9, vocab_size, False)([text])[0].tolist()
    return found


def replaced(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(expression: str) -> dict[str, Any]:
    pattern = {"Regex": expression}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def test_an_honest_one_makes_tokens(tmp_path: Path) -> None:
    """The others differ from it in what is hostile alone."""
    assert tokens(tokenizer(tmp_path, pre_tokenizer=split("[a-z]")), "cab") == [
        *(26, 2, 0, 1),
        *[27] * 5,
    ]


ENDLESS = "does not come to an end, or takes too much memory"
HOSTILE: dict[str, tuple[dict[str, Any], str, str]] = {
    "an expression that tries everything": (
        {"pre_tokenizer": split(r"(x+x+)+y")},
        "x" * 40,
        "fails to make tokens of texts: Onig",
    ),
    "replacements of replacements": (
        {"normalizer": {"type": "Sequence", "normalizers": [replaced("a", "a" * 1000)] * 5}},
        "a",
        ENDLESS,
    ),
    "a panic": (
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        "abc",
        "fails to make tokens of texts: chunk size must be non-zero",
    ),
    "a table that asks for all memory": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAAAAAAAAA="}},
        "abc",
        ENDLESS,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_ends_in_a_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "tokenizer_seconds=2")
    parts, text, message = HOSTILE[name]
    with pytest.raises(CheckpointError, match="tokenizer") as caught:
        tokens(tokenizer(tmp_path, **parts), text)
    assert message in caught.value.what
    assert str(tmp_path) in caught.value.where
    if message == ENDLESS:
        assert "tokenizer_seconds" in caught.value.hint


def test_long_work_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step of it is long: of 5000 letters each makes the expression look at all that follow."""
    monkeypatch.setenv(VARIABLE, "tokenizer_seconds=1")
    slow = tokenizer(tmp_path, pre_tokenizer=split(r"(?:(?=(a+?)+?b)|(?=(a+?)+?c))a"))
    tokenize = read_tokenizer(slow, 9, 28, False)
    with pytest.raises(VitConvertError, match=rf"{ENDLESS}|Onig"):
        tokenize(["a" * 5000] * 1000)


def test_numbers_beyond_the_text_tower_are_refused(tmp_path: Path) -> None:
    beyond = tokenizer(tmp_path, {"a": 4294967295})
    with pytest.raises(CheckpointError, match=r"has a token 4,294,967,295"):
        tokens(beyond, "a")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "{", "\0", "\ud800"])
def test_what_is_none_is_said_to_be_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(CheckpointError, match=r"is no tokenizer|is not UTF-8"):
        tokens(tmp_path, "a")


@pytest.mark.parametrize(("limit", "message"), [("bytes", "is larger"), ("memory", ENDLESS)])
def test_a_huge_vocabulary_is_refused(
    limit: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = tokenizer(tmp_path, {f"a{index:0100}": index + 28 for index in range(20_000)})
    monkeypatch.setenv(VARIABLE, f"tokenizer_{limit}=1000000")
    with pytest.raises(CheckpointError, match=message):
        tokens(huge, "a", 30_000)


def test_a_pipe_is_no_tokenizer(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="there is no tokenizer in it"):
        tokens(tmp_path, "a")
