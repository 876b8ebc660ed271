"""Where the small parts of the readers end: sizes of types, depths, lengths, what is shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vit_convert.checkpoint import dtypes, open_checkpoint, write_safetensors
from vit_convert.checkpoint.constructs import call, hashable, is_short
from vit_convert.checkpoint.extras import TOO_LARGE
from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.inert import Global, Inert, described, glance, printable
from vit_convert.checkpoint.lookalikes import _is_text, not_a_checkpoint
from vit_convert.checkpoint.strided import MAX_RANK, unreadable, whole
from vit_convert.checkpoint.zip_archive import _are_fields
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import VARIABLE

KNOWN = [name for name in (*dtypes._STORED, *dtypes._REFUSED) if hasattr(torch, name)]


@pytest.mark.parametrize("name", KNOWN)
def test_elements_are_as_large_as_pytorch_has_them(name: str) -> None:
    assert dtypes.bits(name) == 8 * getattr(torch, name).itemsize


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_values_beside_the_weights_are_shown_down_to_a_depth(save: Any, kind: type) -> None:
    def nested(depth: int) -> Any:
        value: Any = 7
        for _ in range(depth):
            value = {"in": value} if kind is dict else kind([value])
        return value

    def bottom(value: Any) -> tuple[Any, int]:
        depth = 0
        while isinstance(value, (list, tuple, dict)):
            value, depth = next(iter(value.values() if kind is dict else value)), depth + 1
        return value, depth

    weights = {"w": torch.ones(2), "b": torch.ones(3)}
    extras = open_checkpoint(save({"model": weights, "args": nested(40), "log": nested(41)})).extras
    assert bottom(extras["args"]) == (7, 40)
    assert bottom(extras["log"]) == (TOO_LARGE, 40)


def test_texts_of_files_are_shown_whole_or_cut_and_never_raw() -> None:
    assert printable("größe") == "größe"
    assert printable("x" * 120) == "x" * 120
    assert printable("x" * 121) == "x" * 117 + "..."
    assert printable("a\x1b[2J\ud800b") == "a\\x1b[2J\\ud800b"


def test_numbers_are_shown_up_to_a_length() -> None:
    assert glance(2**255 - 1) == repr(2**255 - 1)[:18] + "..." + repr(2**255 - 1)[-19:]
    assert glance(2**255) == "a number of 256 bits"


def test_counts_are_whole_numbers_below_a_limit() -> None:
    assert [whole(value, 5) for value in (-1, 0, 1, 4, 5, True, 2.0, "3")] == [
        *(False, True, True, True, False, False, False, False)
    ]


@pytest.mark.parametrize("shape", [(), (3, 5), (0,), (2,) * MAX_RANK])
def test_what_cannot_be_read_is_listed_with_its_shape(shape: tuple[int, ...]) -> None:
    assert unreadable("sparse", shape, "sparse").shape == shape


@pytest.mark.parametrize(
    "shape", [None, 3, [3, 5], "35", (3, -5), (2.0,), (1,) * (MAX_RANK + 1), ("a", 2)]
)
def test_a_shape_that_makes_no_sense_is_not_shown(shape: Any) -> None:
    tensor = unreadable("sparse", shape, "sparse")
    assert tensor.shape == ()
    with pytest.raises(CheckpointError, match="it is sparse, which cannot be read"):
        tensor.read()


def test_the_bytes_of_all_tensors_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {"w": np.ones((3, 5)), "b": np.ones(7, np.float16), "i": np.ones(2, np.int32)}
    write_safetensors(tmp_path / "x.safetensors", tensors)
    monkeypatch.setenv(VARIABLE, f"tensor_bytes={3 * 5 * 8 + 7 * 2 + 2 * 4}")
    assert {*open_checkpoint(tmp_path / "x.safetensors").tensors} == {*tensors}
    monkeypatch.setenv(VARIABLE, f"tensor_bytes={3 * 5 * 8 + 7 * 2 + 2 * 4 - 1}")
    with pytest.raises(CheckpointError, match="tensor_bytes"):
        open_checkpoint(tmp_path / "x.safetensors")


def test_the_extra_bytes_of_a_zip_header_are_fields_or_not() -> None:
    fields = b"\1\0\2\0ab" + b"\2\0\0\0" + b"\3\0\1\0c"
    assert _are_fields(b"")
    assert _are_fields(fields)
    assert not any(_are_fields(fields[:end]) for end in (1, 5, 8, len(fields) - 1))
    assert not _are_fields(fields + b"x")


def test_what_can_be_a_key() -> None:
    for value in (None, 3, "x", (1, ("y", None)), b"z", 2.5, True, frozenset([1])):
        assert hashable(value) is value
    for value in ([], {}, {1}, (1, [2]), 1 << 100_000, object()):
        with pytest.raises(CheckpointError, match="dictionary key"):
            hashable(value)


def test_keys_whose_hashes_cannot_collide() -> None:
    modulus = sys.hash_info.modulus  # numbers that differ by it have the same hash
    assert [is_short(v) for v in (None, 0, -7, modulus // 4, modulus, "x", 2.5, (1,))] == [
        *(True, True, True, True, False, False, False, False)
    ]


ORDERED, SET = Global("collections", "OrderedDict"), Global("builtins", "set")


def test_dictionaries_are_made_of_pairs() -> None:
    """As Python 2 pickles an OrderedDict."""
    assert call(ORDERED, ([["a", 1], ("b", 2)],)) == {"a": 1, "b": 2}
    for wrong in ([["a"]], [["a", 1, 2]], ["ab"], 3):
        assert isinstance(call(ORDERED, (wrong,)), Inert)
    with pytest.raises(CheckpointError, match="dictionary key"):
        call(ORDERED, ([[["a"], 1]],))


def test_members_of_sets_are_such_as_can_be_keys() -> None:
    assert call(SET, ([1, "a"],)) == {1, "a"}
    with pytest.raises(CheckpointError, match="dictionary key"):
        call(SET, ([1, 1 << 100_000],))


def test_a_text_may_be_cut_off_inside_a_character() -> None:
    cut = "text \N{GRINNING FACE}".encode()
    assert all(_is_text(cut[:end]) for end in range(5, len(cut) + 1))
    assert not _is_text(b"text\xff" + b"abc")
    assert not _is_text("\N{GRINNING FACE}".encode()[:3])
    assert not _is_text(b"text\0")


@pytest.mark.parametrize(("head", "is_one"), [(b"\x80\x02}q", True), (b"A\x02}q", False)])
def test_a_pickle_begins_with_its_protocol(head: bytes, is_one: bool) -> None:
    assert ("Python pickle" in not_a_checkpoint(head, "x").what) is is_one


def test_a_stream_gives_all_that_is_left(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    stream = FileBytes.open(tmp_path / "x").stream()
    assert [stream.read(3), stream.read(), stream.read()] == [b"012", b"3456789", b""]
    stream.seek(8)
    assert (stream.read(None), stream.read(5)) == (b"89", b"")


def test_values_of_a_pickle_are_described_by_their_type_or_text() -> None:
    assert described("a\x1bb") == repr("a\\x1bb")
    assert described(ORDERED) == "collections.OrderedDict"
    assert described([[1]]) == "an object of type list"
