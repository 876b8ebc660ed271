"""Files of numpy.savez are read as numpy.load reads them."""

import io
import zipfile

import numpy as np
import pytest

from vit_convert.checkpoint import open_checkpoint
from vit_convert.errors import CheckpointError

CODES = ["f8", "f4", "f2", ">f4", "i8", "i4", ">i2", "i1", "u8", "u1"]
ARRAYS = {
    **{code: np.arange(15).reshape(3, 5).astype(code) for code in CODES},
    "Transformer/encoderblock_0/kernel": np.asfortranarray(np.random.rand(4, 3, 2)),
    "flags": np.array([True, False, True]),
    "scalar": np.float32(2.5),
    "empty": np.ones((0, 4)),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_stored_and_deflated(tmp_path, save):
    save(tmp_path / "x.npz", **ARRAYS)
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    assert (checkpoint.format, checkpoint.key) == ("npz", "")
    assert list(checkpoint.tensors) == list(ARRAYS)
    with np.load(tmp_path / "x.npz") as expected:
        for name, tensor in checkpoint.tensors.items():
            read = tensor.read()
            assert tensor.dtype == read.dtype.name
            assert tensor.shape == read.shape == expected[name].shape
            assert read.dtype.isnative
            assert np.array_equal(read, expected[name])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_numpys_header(tmp_path, version):
    array = np.arange(15, dtype=np.float32).reshape(3, 5)
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("w.npy", content.getvalue())
    assert np.array_equal(open_checkpoint(tmp_path / "x.npz").tensors["w"].read(), array)


def test_jax_s_bfloat16(tmp_path):
    values = np.array([1.5, -2.0, 0.0078125], np.float32)
    np.savez(tmp_path / "x.npz", w=(values.view(np.uint32) >> 16).astype(np.uint16).view("V2"))
    tensor = open_checkpoint(tmp_path / "x.npz").tensors["w"]
    assert tensor.dtype == "bfloat16"
    assert np.array_equal(tensor.read(), values)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}, 1], dtype=object), "Python objects"),
        (np.array([1j], np.complex64), "complex64"),
        (np.array(["text"]), "U4"),
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "'a'"),
    ],
    ids=["objects", "complex", "text", "structured"],
)
def test_other_arrays_are_refused_when_used(tmp_path, array, message):
    np.savez(tmp_path / "x.npz", odd=array, good=np.ones(2))
    tensors = open_checkpoint(tmp_path / "x.npz").tensors
    assert tensors["good"].read().tolist() == [1, 1]
    with pytest.raises(CheckpointError, match=message):
        tensors["odd"].read()


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode()
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(width, "little") + text + data


HEADER = "{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x09\x00" + bytes(20),
        npy(HEADER.format("(3,)"), bytes(11)),
        npy(HEADER.format("(3,)"), bytes(13)),
        npy(HEADER.format("(-3,)"), bytes(12)),
        npy(HEADER.format("3"), bytes(12)),
        npy(HEADER.format("(4611686018427387903, 0)")),
        npy(HEADER.format("(" * 5000)),
        npy("__import__('os')"),
        npy("[]"),
        npy(HEADER.format("(3,)") + " " * 10_000, bytes(12), 2),
    ],
)
def test_damaged_arrays(tmp_path, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("w.npy", content)
    (tmp_path / "x.npz").write_bytes(file.getvalue())
    with pytest.raises(CheckpointError, match="damaged"):
        open_checkpoint(tmp_path / "x.npz")
