"""Files that PyTorch wrote are read in a process that cannot import it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vit_convert.checkpoint import open_checkpoint

GOLDENS = Path(__file__).parents[1] / "goldens" / "checkpoint"
DTYPES = ["float32", "bfloat16", "float16", "float32", "int64", "bool"]


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("state.zip.pth", "torch zip", "model"),
        ("state.legacy.pth", "torch legacy", "model"),
        ("state.safetensors", "safetensors", ""),
    ],
)
def test_state_dicts(expected, name, kind, key):
    checkpoint = open_checkpoint(GOLDENS / name)
    assert (checkpoint.format, checkpoint.key) == (kind, key)
    assert set(checkpoint.tensors) == set(expected)
    stored = dict(zip(expected, DTYPES, strict=True))
    for tensor in checkpoint.tensors.values():
        assert tensor.dtype == stored[tensor.name]
        assert tensor.read().dtype == expected[tensor.name].dtype
        assert np.array_equal(
            tensor.read(), expected[tensor.name], equal_nan=tensor.name == "blocks.0.bias"
        )
    if key:
        assert list(checkpoint.tensors) == list(expected)
        assert checkpoint.extras == {"epoch": 3, "args": {"lr": 0.1}, "best": 0.5}
    else:
        assert checkpoint.extras == {"format": "pt"}


def test_a_pickled_module():
    tensors = open_checkpoint(GOLDENS / "module.pth").tensors
    names = ["0.weight", "0.bias", "1.weight", "1.bias"]
    buffers = ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert list(tensors) == names + buffers
    assert tensors["0.weight"].read().tolist() == np.arange(12.0).reshape(3, 4).tolist()
    assert tensors["0.bias"].read().tolist() == [0, 1, 2]
    assert tensors["1.num_batches_tracked"].read() == 0


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("state.zip.pth", 34),
        ("state.legacy.pth", 34),
        ("state.safetensors", 34),
        ("module.pth", 28),
    ],
)
def test_without_pytorch_and_safetensors(name, count):
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "safetensors", "tensorflow"]))  # their import fails
from vit_convert.checkpoint import open_checkpoint
tensors = open_checkpoint({str(GOLDENS / name)!r}).tensors
assert sum(tensor.read().size for tensor in tensors.values()) == {count}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
