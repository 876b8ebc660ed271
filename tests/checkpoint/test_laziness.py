"""Opening touches no tensor and imports no framework; reading reads what is asked for."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vit_convert.checkpoint import file_bytes, open_checkpoint
from vit_convert.checkpoint.zip_archive import ZipArchive
from vit_convert.errors import CheckpointError

SIDE = 700  # 1.96 MB each, far more than any header


def write(kind, path):
    state = {name: torch.randn(SIDE, SIDE) for name in "abc"}
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **{name: tensor.numpy() for name, tensor in state.items()})
    elif kind == "npz deflated":
        with path.open("wb") as file:
            np.savez_compressed(file, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    return state


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "npz"])
def test_opening_looks_at_little_and_reading_reads_once(tmp_path, monkeypatch, kind):
    state = write(kind, tmp_path / "x")
    seen: list[int] = []
    span = file_bytes.FileBytes.span

    def counted(file, offset, count):
        seen.append(count)
        return span(file, offset, count)

    copies: list[str] = []
    monkeypatch.setattr(ZipArchive, "_inflate", lambda *_: copies.append("inflated"))
    monkeypatch.setattr(file_bytes.FileBytes, "span", counted)
    checkpoint = open_checkpoint(tmp_path / "x")
    if kind in ("zip", "safetensors"):
        assert sum(seen) < 90_000  # the end of a zip file is looked for in its last 64 KB
    seen.clear()
    arrays = {name: tensor.read() for name, tensor in checkpoint.tensors.items()}
    assert copies == []
    assert sum(seen) < 3 * 4 * SIDE * SIDE + 1000
    for name, array in arrays.items():
        assert not array.flags.writeable
        assert np.array_equal(array, state[name].numpy())


def test_opening_unpacks_only_the_headers(tmp_path, monkeypatch):
    write("npz deflated", tmp_path / "x")
    monkeypatch.setattr(ZipArchive, "read", lambda *_: pytest.fail("a tensor was read"))
    assert open_checkpoint(tmp_path / "x").tensors["a"].shape == (SIDE, SIDE)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "npz"])
def test_opening_allocates_little(tmp_path, kind):
    import tracemalloc

    write(kind, tmp_path / "x")
    open_checkpoint(tmp_path / "x")  # what is imported or cached
    tracemalloc.start()
    try:
        checkpoint = open_checkpoint(tmp_path / "x")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        for tensor in checkpoint.tensors.values():
            tensor.read()
        assert tracemalloc.get_traced_memory()[1] < 5 * SIDE * SIDE  # one, of four bytes each
    finally:
        tracemalloc.stop()


def test_of_a_shared_storage_only_the_part_is_read(save, monkeypatch):
    whole = torch.randn(100, 1000)
    checkpoint = open_checkpoint(save({f"w{i}": whole[i] for i in range(100)}))
    seen: list[int] = []
    span = file_bytes.FileBytes.span

    def counted(file, offset, count):
        seen.append(count)
        return span(file, offset, count)

    monkeypatch.setattr(file_bytes.FileBytes, "span", counted)
    for i in range(100):
        assert checkpoint.tensors[f"w{i}"].read().tolist() == whole[i].tolist()
    assert sum(seen) < 110 * 4000


def test_a_file_that_is_truncated_meanwhile_is_an_error(save):
    """And no SIGBUS, which would end the process."""
    path = save({"w": torch.randn(1000, 1000)})
    tensor = open_checkpoint(path).tensors["w"]
    os.truncate(path, 8192)
    with pytest.raises(CheckpointError, match="became shorter"):
        tensor.read()


def test_arrays_outlive_the_checkpoint(save):
    array = open_checkpoint(save({"w": torch.arange(5.0)})).tensors["w"].read()
    assert array.tolist() == [0, 1, 2, 3, 4]


def test_neither_framework_is_imported(save):
    path = save({"model": {"w": torch.ones(2)}, "n": np.float64(1)})
    code = f"""
import sys
from vit_convert.checkpoint import open_checkpoint
assert open_checkpoint({str(path)!r}).tensors["w"].read().sum() == 2
heavy = {{"torch", "tensorflow", "tf_keras", "safetensors", "h5py"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
