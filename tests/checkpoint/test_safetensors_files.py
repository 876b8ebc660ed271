"""Files of the safetensors package are read, and everything else of that kind is refused."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vit_convert.checkpoint import open_checkpoint
from vit_convert.errors import CheckpointError

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
]


def test_as_the_package_wrote_it(tmp_path, same_as):
    state = {
        **{str(dtype): torch.arange(15).reshape(3, 5).to(dtype) for dtype in DTYPES},
        "scalar": torch.tensor(2.5),
        "empty": torch.ones(0, 3),
        "größe": torch.ones(2),
    }
    save_file(state, tmp_path / "x", metadata={"format": "pt", "note": "ü"})
    checkpoint = open_checkpoint(tmp_path / "x")
    assert (checkpoint.format, checkpoint.key, checkpoint.candidates) == ("safetensors", "", ("",))
    assert checkpoint.extras == {"format": "pt", "note": "ü"}
    assert checkpoint.size == (tmp_path / "x").stat().st_size
    same_as(checkpoint, {name: state[name] for name in checkpoint.tensors})
    assert set(checkpoint.tensors) == set(state)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.float8_e4m3fn, "float8_e4m3fn"),
        (torch.float8_e5m2, "float8_e5m2"),
        (torch.complex64, "complex64"),
    ],
)
def test_unreadable_types_are_listed_and_refused_when_used(tmp_path, dtype, name):
    save_file({"odd": torch.ones(2, 3).to(dtype)}, tmp_path / "x")
    tensor = open_checkpoint(tmp_path / "x").tensors["odd"]
    assert (tensor.dtype, tensor.shape) == (name, (2, 3))
    with pytest.raises(CheckpointError, match=name):
        tensor.read()


def written(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def test_offsets_in_any_order_and_padded_headers(tmp_path):
    header = {"b": entry(offsets=(24, 48)), "a": entry(offsets=(0, 24))}
    data = np.arange(12, dtype="<f4").tobytes()
    path = written(tmp_path / "x", json.dumps(header).encode() + b"   ", data)
    tensors = open_checkpoint(path).tensors
    assert list(tensors) == ["b", "a"]
    assert tensors["a"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["b"].read()[0, 0] == 6


BAD = {
    "a gap": ({"a": entry(offsets=(8, 32))}, 32, "overlap, or leave a gap"),
    "an overlap": ({"a": entry(), "b": entry(offsets=(16, 40))}, 40, "overlap"),
    "the same twice": ({"a": entry(), "b": entry()}, 24, "overlap"),
    "too few bytes": ({"a": entry()}, 23, "take 24 bytes, but 23 follow"),
    "too many bytes": ({"a": entry()}, 25, "take 24 bytes, but 25 follow"),
    "no tensor, but bytes": ({}, 4, "take 0 bytes"),
    "a wrong shape": ({"a": entry(shape=(2, 4))}, 24, "has 24 bytes"),
    "a negative side": ({"a": entry(shape=(-2, -3))}, 24, "shape"),
    "a fractional side": ({"a": entry(shape=(2.0, 3))}, 24, "shape"),
    "a huge side": ({"a": entry(shape=(2**70, 0))}, 24, "shape"),
    "a huge empty shape": ({"a": entry(shape=(2**61, 0), offsets=(0, 0))}, 0, "shape"),
    "an endless rank": ({"a": entry(shape=[1] * 100)}, 24, "shape"),
    "reversed offsets": ({"a": entry(offsets=(24, 0))}, 24, "offsets"),
    "negative offsets": ({"a": entry(offsets=(-24, 0))}, 24, "offsets"),
    "three offsets": ({"a": entry(offsets=(0, 24, 24))}, 24, "lacks"),
    "an unknown type": ({"a": entry(dtype="F31")}, 24, "unknown type F31"),
    "no type": ({"a": {"shape": [], "data_offsets": [0, 4]}}, 4, "lacks"),
    "one key more": ({"a": entry(more=1)}, 24, "lacks"),
    "no table": ({"a": [1]}, 24, "lacks"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "a": entry()}, 24, "__metadata__"),
}


@pytest.mark.parametrize("case", BAD)
def test_headers_that_contradict_the_file(tmp_path, case):
    header, count, message = BAD[case]
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(written(tmp_path / "x", header, bytes(count)))


def test_duplicate_names(tmp_path):
    one = json.dumps(entry())
    text = f'{{"a": {one}, "a": {one}}}'.encode()
    with pytest.raises(CheckpointError, match="twice"):
        open_checkpoint(written(tmp_path / "x", text, bytes(24)))


@pytest.mark.parametrize("text", [b"{", b'{"a": nope}', b"{\xff}", b'{"a":' + b"[" * 100_000])
def test_headers_that_are_not_json(tmp_path, text):
    with pytest.raises(CheckpointError, match="not JSON"):
        open_checkpoint(written(tmp_path / "x", text))


@pytest.mark.parametrize("length", [2**40, 2**56 - 1, 25, 100_000_001])
def test_header_lengths_beyond_the_file(tmp_path, length):
    with pytest.raises(CheckpointError, match="header would be"):
        open_checkpoint(written(tmp_path / "x", {}, b"", length))


def test_names_that_are_no_text(tmp_path):
    text = b'{"\\ud800": ' + json.dumps(entry()).encode() + b"}"
    with pytest.raises(CheckpointError, match="no valid text"):
        open_checkpoint(written(tmp_path / "x", text, bytes(24)))
