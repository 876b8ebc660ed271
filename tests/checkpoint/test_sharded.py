"""Checkpoints in several files, by their index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from vit_convert.checkpoint import open_checkpoint
from vit_convert.errors import CheckpointError

ARRAYS = {name: np.full((2, i + 1), i, np.float32) for i, name in enumerate("abcd")}
PLACES = {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors", "d": "2.safetensors"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shard in set(PLACES.values()):
        save_file({n: ARRAYS[n] for n in ARRAYS if PLACES[n] == shard}, tmp_path / shard)
    write(tmp_path, {"metadata": {"total_size": 80}, "weight_map": PLACES})
    return tmp_path


def write(folder: Path, index: Any) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(index if isinstance(index, str) else json.dumps(index))
    return path


def test_all_parts_are_one_checkpoint(folder: Path) -> None:
    for path in (folder, folder / "model.safetensors.index.json"):
        found = open_checkpoint(path)
        assert list(found.tensors) == list(ARRAYS)
        assert found.format == "safetensors in parts"
        sizes = [(folder / shard).stat().st_size for shard in set(PLACES.values())]
        assert found.size == sum(sizes)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found.tensors[name].read(), array)


def test_parts_of_pytorch(tmp_path: Path) -> None:
    places = {"x": "pytorch_model-1.bin", "y": "pytorch_model-2.bin"}
    for name, shard in places.items():
        torch.save({name: torch.arange(3.0)}, tmp_path / shard)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    assert list(open_checkpoint(tmp_path).tensors) == ["x", "y"]


def test_a_single_file_in_a_folder_is_found(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "model.safetensors")
    torch.save({"other": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert list(open_checkpoint(tmp_path).tensors) == list(ARRAYS)


def test_a_missing_part_is_named(folder: Path) -> None:
    (folder / "2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"its part 2\.safetensors is not there"):
        open_checkpoint(folder)


def test_a_part_that_lacks_a_tensor_or_has_one_too_many(folder: Path) -> None:
    save_file({"c": ARRAYS["c"]}, folder / "2.safetensors")
    with pytest.raises(CheckpointError, match="1 tensors are not in the part that it names: d"):
        open_checkpoint(folder)
    save_file({n: ARRAYS[n] for n in "acd"}, folder / "2.safetensors")
    with pytest.raises(CheckpointError, match="1 tensors are not in it: a"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "../1.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": ".."}}',
        '{"weight_map": {"a": ""}}',
        '{"weight_map": {"a": "model.safetensors.index.json"}}',  # itself
        json.dumps({"weight_map": {str(i): f"{i}.safetensors" for i in range(2000)}}),
        "{" + '"a":' * 50_000,
    ],
    ids=lambda text: text[:50],
)
def test_damaged_and_hostile_indices_are_refused(index: str, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"index of a checkpoint|`shards`"):
        open_checkpoint(write(folder, index))
