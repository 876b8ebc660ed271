"""Opens a checkpoint of any kind, which it recognises from the content."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.checkpoint.dtypes import bits, readable
from vit_convert.checkpoint.extras import beside
from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.lookalikes import not_a_checkpoint, not_a_checkpoint_archive
from vit_convert.checkpoint.nesting import choose, state_dicts
from vit_convert.checkpoint.safetensors_file import is_safetensors, read_safetensors
from vit_convert.checkpoint.sharded import file_in, is_index, read_sharded
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.checkpoint.torch_legacy import is_torch_legacy, read_torch_legacy
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import MODULES, NAME_LENGTH, TENSOR_BYTES, TENSORS, Budget

_HEAD = 4096


@dataclass(frozen=True)
class Checkpoint:
    """An opened file of weights.

    Attributes:
        path: the file.
        format: "torch zip", "torch legacy", "safetensors", "npz", or one of them "in parts".
        key: where in it the weights are: "model", "model_ema.module", "" for its top level.
        candidates: every key that holds weights, the preferred one first.
        tensors: the weights under their names in the file.
        extras: what stands beside them (epoch, arguments, optimizer state, ...) as plain values,
            lazy tensors, and inert placeholders for everything else; of safetensors the metadata.
            What was nested has dotted names.
        size: of the file, in bytes.
    """

    path: Path
    format: str
    key: str
    candidates: tuple[str, ...]
    tensors: dict[str, LazyTensor]
    extras: dict[str, Any] = field(default_factory=dict)
    size: int = 0


def open_checkpoint(path: str | Path, key: str | None = None) -> Checkpoint:
    """Open a checkpoint; no tensor is read, and nothing in the file is executed.

    Args:
        path: a `.pth`, `.pt`, `.bin`, `.safetensors` or `.npz` file, whose name does not matter;
            the index of one in several files; or the folder that save_pretrained wrote.
        key: the nesting to take, as in `Checkpoint.candidates`; None for the preferred one.

    Returns:
        its tensors by their names in the file, and what stands beside them.

    Raises:
        CheckpointError: there is no such file or key, or the file cannot be read.
    """
    path = Path(path)
    file = FileBytes.open(file_in(path) if path.is_dir() else path)
    kind, root, metadata, size = _read(file)
    where = str(file.path)
    budget = Budget(MODULES, where=where)
    found = state_dicts(root, budget)
    chosen = choose(found, key, where)
    _check_limits(chosen.tensors, size, where)
    return Checkpoint(
        path=file.path,
        format=kind,
        key=chosen.key,
        candidates=tuple(state.key for state in found),
        tensors={name: _named(where, name, tensor) for name, tensor in chosen.tensors.items()},
        extras={**beside(root, chosen, found, budget), **metadata},
        size=size,
    )


def _read(file: FileBytes) -> tuple[str, Any, Mapping[str, Any], int]:
    """The format, the content, what the format keeps beside it, and the size of it all."""
    head = file.span(0, min(file.size, _HEAD)).tobytes()
    if is_index(file.path, head):
        parts: list[Checkpoint] = []

        def part(path: Path) -> dict[str, LazyTensor]:
            parts.append(open_checkpoint(path))
            return parts[-1].tensors

        tensors = read_sharded(file, part)
        return f"{parts[0].format} in parts", tensors, {}, sum(part.size for part in parts)
    if head.startswith(b"PK"):
        from vit_convert.checkpoint.npz import read_npz
        from vit_convert.checkpoint.torch_zip import pickles_in, read_torch_zip
        from vit_convert.checkpoint.zip_archive import ZipArchive

        archive = ZipArchive(file)
        if pickles_in(archive):
            return "torch zip", read_torch_zip(archive), {}, file.size
        arrays = read_npz(archive)
        if arrays:
            return "npz", arrays, {}, file.size
        raise not_a_checkpoint_archive(list(archive.members), str(file.path))
    if is_torch_legacy(head):
        return "torch legacy", read_torch_legacy(file), {}, file.size
    if is_safetensors(head):
        return "safetensors", *read_safetensors(file), file.size
    raise not_a_checkpoint(head, str(file.path))


def _check_limits(tensors: Mapping[str, LazyTensor], size: int, where: str) -> None:
    """Raises CheckpointError for more tensors, longer names or larger arrays than a file of `size`
    bytes may have."""
    TENSORS.check(len(tensors), where)
    NAME_LENGTH.check(max(map(len, tensors)), where)
    nbytes = sum(
        math.prod(tensor.shape) * bits(tensor.dtype) // 8
        for tensor in tensors.values()
        if readable(tensor.dtype)
    )
    TENSOR_BYTES.check(nbytes, where, size)


def _named(where: str, name: str, tensor: LazyTensor) -> LazyTensor:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CheckpointError(
            f"the tensor name {printable(name)!r} is no valid text", where=where
        ) from None
    place = f"{where}: {printable(name)}"
    return LazyTensor(name, tensor.shape, tensor.dtype, partial(_read_tensor, place, tensor))


def _read_tensor(place: str, tensor: LazyTensor) -> np.ndarray:
    try:
        return tensor.read()
    except CheckpointError as error:
        raise CheckpointError(
            error.what, where=place, expected=error.expected, hint=error.hint
        ) from error
    except MemoryError as error:
        raise CheckpointError("there is not enough memory to read it", where=place) from error
