"""Our metadata in a .tflite file: an entry named `vit_convert` in the model's metadata table."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from vit_convert.errors import ArtifactError

ENTRY = "vit_convert"
_IDENTIFIER = b"TFL3"


def is_tflite(path: Path) -> bool:
    """Whether the file identifier is TFLite's."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == _IDENTIFIER


def with_entry(model: bytes, content: bytes) -> bytearray:
    """A copy of a .tflite file with `content` as its entry."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    tree.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name = ENTRY
    entry.buffer = len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + len(content) + 4096)
    builder.Finish(tree.Pack(builder), file_identifier=_IDENTIFIER)
    return builder.Output()


def read_entry(path: Path) -> bytes | None:
    """The entry of a .tflite file, or None if it has none; weights stay on the disk.

    Raises:
        ArtifactError: the file is truncated or damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = np.memmap(path, np.uint8, mode="r")
    try:
        model = schema.Model.GetRootAs(data)
        entries = (model.Metadata(i) for i in range(model.MetadataLength()))
        index = next((e.Buffer() for e in entries if e.Name() == ENTRY.encode()), None)
        return None if index is None else model.Buffers(index).DataAsNumpy().tobytes()
    except (struct.error, ValueError, IndexError, TypeError, AttributeError) as error:
        raise damaged(path) from error


def damaged(path: Path) -> ArtifactError:
    """The error for a .tflite file that cannot be read."""
    return ArtifactError(
        "is a .tflite file, but truncated or damaged",
        where=str(path),
        expected="an artifact that `vit-convert export` wrote",
        hint="export the model again",
    )
