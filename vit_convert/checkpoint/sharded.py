"""Checkpoints in several files: an index says which file holds which tensor.

`model.safetensors.index.json` and `pytorch_model.bin.index.json`, as transformers and accelerate
write them: {"metadata": {...}, "weight_map": {tensor: file}}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import JSON_BYTES, SHARDS, TENSORS

INDEX = ".index.json"
# what save_pretrained and its kin call the checkpoint in a folder, the preferred one first
_IN_FOLDERS = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def file_in(folder: Path) -> Path:
    """The checkpoint in a folder that save_pretrained wrote.

    Raises:
        CheckpointError: there is none.
    """
    for name in _IN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        "this is a folder without a checkpoint of a known name",
        where=str(folder),
        expected=f"{_IN_FOLDERS[0]} or {_IN_FOLDERS[2]} in it, or their index",
        hint=_inside(folder),
    )


def is_index(path: Path, head: bytes) -> bool:
    """Whether a file of that name, that begins like this, is an index."""
    return path.name.endswith(INDEX) and head.lstrip().startswith(b"{")


def read_sharded(
    index: FileBytes, read: Callable[[Path], dict[str, LazyTensor]]
) -> dict[str, LazyTensor]:
    """The tensors of all files, in the order of the index.

    Args:
        index: the index.
        read: gives the tensors of one file.

    Raises:
        CheckpointError: the index is damaged, a file is missing, or one does not hold what the
            index says.
    """
    places = _weight_map(index)
    files: dict[str, dict[str, LazyTensor]] = {}
    for shard in dict.fromkeys(places.values()):
        path = index.path.parent / shard
        if not path.is_file():
            raise CheckpointError(
                f"its part {printable(shard)} is not there",
                where=str(index.path),
                expected=f"all {len(set(places.values()))} parts beside the index",
                hint="download or copy the whole folder again",
            )
        files[shard] = read(path)
    missing = [name for name, shard in places.items() if name not in files[shard]]
    extra = [
        name for shard, tensors in files.items() for name in tensors if places.get(name) != shard
    ]
    for names, what in ((missing, "are not in the part that it names"), (extra, "are not in it")):
        if names:
            raise CheckpointError(
                f"{len(names)} tensors {what}: {', '.join(map(printable, names[:3]))}",
                where=str(index.path),
                expected="an index and parts that were saved together",
                hint="download or copy the whole folder again",
            )
    return {name: files[shard][name] for name, shard in places.items()}


def _weight_map(index: FileBytes) -> dict[str, str]:
    damaged = CheckpointError(
        "the index of a checkpoint in several files is damaged",
        where=str(index.path),
        expected='{"weight_map": {tensor: file, ...}}',
        hint="download or copy it again",
    )
    JSON_BYTES.check(index.size, str(index.path))
    try:
        data = json.loads(index.span(0, index.size).tobytes())
    except (ValueError, RecursionError):
        raise damaged from None
    places = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(places, dict) or not places:
        raise damaged
    for shard in places.values():
        # a plain name: an index leads neither out of its folder nor to another index
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise damaged
        if shard in ("", "..") or shard.endswith(INDEX):
            raise damaged
    SHARDS.check(len(set(places.values())), str(index.path))
    TENSORS.check(len(places), str(index.path))
    return places


def _inside(folder: Path) -> str:
    suffixes = (".safetensors", ".bin", ".pth", ".pt", ".npz")
    files = sorted(entry.name for entry in folder.iterdir() if entry.suffix in suffixes)
    return f"one of the files in it: {', '.join(files[:5])}" if files else ""
