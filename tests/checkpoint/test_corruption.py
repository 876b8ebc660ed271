"""A damaged file gives a CheckpointError or arrays, never another exception.

Of a zip file, whose pickle has a checksum, the arrays are those of the whole file, unless the
damage is in the elements themselves, which no format that is mapped can notice.
"""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from vit_convert.checkpoint import open_checkpoint
from vit_convert.errors import CheckpointError

STATE = {
    "model": {
        "blocks.0.w": torch.arange(6.0).reshape(2, 3),
        "b": torch.ones(5, dtype=torch.bfloat16),
    },
    "epoch": 3,
    "n": np.float64(1.5),
}
ARRAYS = {"w": np.arange(6.0).reshape(2, 3), "b": np.ones(5, np.float16)}


def content(kind: str) -> bytes:
    file = io.BytesIO()
    match kind:
        case "safetensors":
            return save(STATE["model"], {"format": "pt"})
        case "npz":
            np.savez(file, **ARRAYS)
        case "npz deflated":
            np.savez_compressed(file, **ARRAYS)
        case _:
            torch.save(STATE, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


KINDS = ["zip", "legacy", "safetensors", "npz", "npz deflated"]
VALID = {kind: content(kind) for kind in KINDS}


def arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What is in it, or None where that was refused."""
    try:
        return {name: tensor.read() for name, tensor in open_checkpoint(path).tensors.items()}
    except CheckpointError:
        return None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("corruption") / "x"


bounded = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(st.data())
def test_changed_bytes(path, kind, data):
    valid = VALID[kind]
    path.write_bytes(valid)
    whole = arrays(path)
    changes = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(valid) - 1), st.integers(1, 255)), min_size=1, max_size=3
        )
    )
    damaged = bytearray(valid)
    for position, mask in changes:
        damaged[position] ^= mask
    path.write_bytes(damaged)
    read = arrays(path)
    assert whole is not None
    if kind == "zip" and read is not None and not any(in_elements(valid, p) for p, _ in changes):
        assert list(read) == list(whole)
        assert all(np.array_equal(read[name], array) for name, array in whole.items())


def in_elements(valid: bytes, position: int) -> bool:
    spans = [(valid.index(array.tobytes()), array.nbytes) for array in elements()]
    return any(start <= position < start + size for start, size in spans)


def elements() -> list[np.ndarray]:
    first, second = STATE["model"].values()
    return [first.numpy(), second.view(torch.int16).numpy()]


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(st.data())
def test_truncated_and_spliced(path, kind, data):
    valid = VALID[kind]
    start = data.draw(st.integers(0, len(valid)))
    length = data.draw(st.integers(0, 40))
    filler = data.draw(st.binary(max_size=40))
    path.write_bytes(valid[:start] + filler + valid[start + length :])
    arrays(path)
    path.write_bytes(valid[:start])
    if start < len(valid):
        assert arrays(path) is None


@bounded
@given(st.binary(max_size=200))
def test_noise(path, data):
    for start in (
        b"",
        b"PK\x03\x04",
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x20\0\0\0\0\0\0\0{",
    ):
        path.write_bytes(start + data)
        assert arrays(path) is None


@bounded
@given(st.data())
def test_pickles_of_opcodes_in_any_order(path, data):
    import pickletools

    from vit_convert.checkpoint.unpickler import load_pickle

    codes = st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])
    names = st.sampled_from([b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"cos\nsystem\n"])
    parts = data.draw(st.lists(codes | names | st.binary(max_size=3), max_size=40))
    with contextlib.suppress(CheckpointError):
        content = b"\x80\x04" + b"".join(parts) + b"."
        load_pickle(io.BytesIO(content), len(content), "x", lambda pid: pid)
