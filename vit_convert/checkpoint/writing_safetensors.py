"""Writing `.safetensors`: the package of that name needs PyTorch to write bfloat16."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vit_convert.checkpoint.dtypes import bits, readable
from vit_convert.checkpoint.encoding import encode, stored_dtypes
from vit_convert.checkpoint.safetensors_file import DTYPES

_CODES = {name: code for code, name in DTYPES.items() if readable(name)}


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    dtypes: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a `.safetensors` file, directly to `path`.

    Args:
        path: the file; what is there is replaced.
        tensors: the arrays, by name.
        dtypes: types to store where they are not the arrays' own; "bfloat16" is given as float32.
        metadata: the header's `__metadata__`.

    Raises:
        ValueError: a type cannot be stored, or cannot hold one of its values.
        OSError: the file cannot be written.
    """
    kinds = stored_dtypes(tensors, dtypes, _CODES)
    # as the reference implementation does: wide types first, so that every tensor lies aligned
    order = sorted(kinds, key=lambda name: -bits(kinds[name]))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name in order:
        end = position + tensors[name].size * bits(kinds[name]) // 8
        header[name] = {
            "dtype": _CODES[kinds[name]],
            "shape": list(tensors[name].shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(encode(name, tensors[name], kinds[name]))
