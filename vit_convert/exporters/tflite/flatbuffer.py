"""Writing .tflite files, whose weights need not fit into memory, and our metadata in them: an entry
named `vit_convert` in the model's metadata table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import ArtifactError
from vit_convert.exporters.tflite.tables import MOST_ENTRIES, BrokenFile, Reader
from vit_convert.progress import Progress, counted, silent
from vit_convert.runtime.input_file import load_input, read_head

ENTRY = "vit_convert"
TABLES = 64 << 20  # bytes of a file that are in memory where only its tables are looked at
LIMIT = 2**31  # bytes: offsets in a flatbuffer are signed for some of its readers
_AHEAD = 2  # contents that are made while one is written
_IDENTIFIER = b"TFL3"
_DATA_BEHIND = b"buffer_location"  # metadata of a file whose data lie behind the tables
_LENGTH = struct.Struct("<I")  # of a vector; an offset has the same form
_PLACE = struct.Struct("<Q")  # in a file that may be larger
_DATA_FIELD, _OFFSET_FIELD, _SIZE_FIELD = 4, 6, 8  # of the table Buffer, in its vtable
_ALIGNMENT = 64  # what LiteRT wants of memory that it uses in place; the schema asks for 16


def is_tflite(path: Path) -> bool:
    """Whether the file identifier is TFLite's."""
    if not path.is_file():
        return False
    return read_head(path, 8)[4:] == _IDENTIFIER


@dataclass(frozen=True)
class Quantised:
    """Values of a weight (outputs, ...) and the scale of each output.

    Attributes:
        values: int8, of the weight's shape.
        scales: (outputs,) float32; value * scale is the weight.
    """

    values: np.ndarray
    scales: np.ndarray


@dataclass(frozen=True)
class Content:
    """The data of a buffer.

    Attributes:
        size: in bytes.
        read: gives them; called once, when they are written.
        scales_of: the tensor whose scales are known only then; `read` gives a Quantised.
    """

    size: int
    read: Callable[[], np.ndarray | Quantised]
    scales_of: int | None = None


@dataclass
class TfliteModel:
    """A model in flatbuffers' object form, with the data of its buffers beside it.

    Attributes:
        tree: the model; a buffer in `contents` has no data.
        contents: index of a buffer -> its data.
    """

    tree: Any
    contents: dict[int, Content]

    @property
    def data_size(self) -> int:
        """Bytes of the data in `contents`."""
        return sum(content.size for content in self.contents.values())


def tree_of(content: bytes | bytearray | np.ndarray) -> Any:
    """A model in flatbuffers' object form, also where the data of buffers lie behind the tables."""
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(content)
    for buffer in tree.buffers:
        if buffer.offset > 1:  # 0 and 1 are no places: there the field is not used
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    tree.metadata = [entry for entry in tree.metadata if entry.name != _DATA_BEHIND]
    return tree


def text_of(name: str | bytes) -> str:
    """A name in a tree: flatbuffers' objects have bytes where they were read from a file."""
    return name if isinstance(name, str) else name.decode()


def operation_name(code: Any) -> str:
    """An operation by the name that LiteRT has for it, "BATCH_MATMUL"."""
    return _operation_names()[max(code.builtinCode, code.deprecatedBuiltinCode)]


@cache
def _operation_names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


def add_entry(tree: Any, name: str, content: bytes) -> None:
    """Add an entry to the metadata table of a model in flatbuffers' object form, or replace it."""
    from ai_edge_litert import schema_py_generated as schema

    others = []
    for other in tree.metadata or []:
        if text_of(other.name) == name:
            tree.buffers[other.buffer].data = None
        else:
            others.append(other)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    tree.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name = name
    entry.buffer = len(tree.buffers) - 1
    tree.metadata = [*others, entry]


def write(
    path: Path,
    model: TfliteModel,
    beyond_limit: bool = False,
    progress: Progress = silent,
) -> None:
    """Write a model, one buffer at a time.

    The tables come first and the data of all buffers after them, aligned. A flatbuffer may lie like
    that, so that the file is an ordinary one; only builders, who write it backwards in memory, do
    not make it so.

    Args:
        path: where.
        model: what to write. Data in the buffers of its tree move into a copy of its contents.
        beyond_limit: let the tables tell by 64-bit numbers where `contents` are, so that the file
            may be larger than a flatbuffer's offsets can reach. LiteRT reads that; others may not.
        progress: told of each buffer.

    Raises:
        OSError: it cannot be written.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree, contents = model.tree, {**model.contents}
    far = {*contents} if beyond_limit else set()
    for index, buffer in enumerate(tree.buffers):
        if buffer.data is not None and len(buffer.data):
            data = np.asarray(buffer.data, np.uint8)
            contents[index] = Content(data.nbytes, partial(np.asarray, data))
        buffer.data = None
        if index in far:
            buffer.offset = buffer.size = 1  # a field that is not 0 gets a place
        elif index in contents:
            buffer.data = np.zeros(1, np.uint8)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), file_identifier=_IDENTIFIER)
    tables = bytearray(builder.Output())
    order = sorted(contents, key=lambda index: (index in far, index))
    places = _lay_out(tables, {index: contents[index] for index in order})
    main = schema.Model.GetRootAs(tables).Subgraphs(0)
    with path.open("wb") as file:
        file.write(tables)
        arrays = _read_ahead([contents[index] for index in places])
        for index, start in counted(progress, "writing tensors", [*places.items()]):
            content = contents[index]
            file.write(bytes(start - _LENGTH.size - file.tell()))
            file.write(_LENGTH.pack(content.size))
            found = next(arrays)
            array = found.values if isinstance(found, Quantised) else found
            if isinstance(found, Quantised):
                # an array that shares the memory of the tables
                main.Tensors(content.scales_of).Quantization().ScaleAsNumpy()[:] = found.scales
            assert array.nbytes == content.size
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        file.seek(0)  # the scales are in the tables
        file.write(tables)


def _read_ahead(contents: Sequence[Content]) -> Iterator[np.ndarray | Quantised]:
    """The data of each content, in order. The next are made in threads of their own while some are
    written, so that a few are in memory."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        coming: list[Future[np.ndarray | Quantised]] = []
        for content in contents:
            coming.append(pool.submit(content.read))
            if len(coming) > _AHEAD:
                yield coming.pop(0).result()
        for last in coming:
            yield last.result()


def _lay_out(tables: bytearray, contents: Mapping[int, Content]) -> dict[int, int]:
    """Index of a buffer -> where in the file its data begin, in the order of `contents`; the tables
    are made to point there."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(tables)
    places, end = {}, len(tables)
    for index, content in contents.items():
        table = model.Buffers(index)._tab
        start = -(-(end + _LENGTH.size) // _ALIGNMENT) * _ALIGNMENT
        pointer = table.Offset(_DATA_FIELD)
        if pointer:
            pointer += table.Pos
            # an offset counts from where it stands to the vector, which begins with its length
            _LENGTH.pack_into(tables, pointer, start - _LENGTH.size - pointer)
        else:
            _PLACE.pack_into(tables, table.Pos + table.Offset(_OFFSET_FIELD), start)
            _PLACE.pack_into(tables, table.Pos + table.Offset(_SIZE_FIELD), content.size)
        places[index] = start
        end = start + content.size
    return places


def read_entry(path: Path) -> bytes | None:
    """The entry of a .tflite file, or None if it has none.

    Raises:
        ArtifactError: the file is truncated or damaged.
    """
    try:
        data = load_input(path, TABLES)
    except (OSError, ValueError) as error:
        raise damaged(path) from error
    found = _entry_in(path, data)
    return None if found is None else found.tobytes()


def replace_entry(path: Path, content: bytes) -> None:
    """Write another content into the entry of a file that has one at least as long, and fill it up
    with spaces, which JSON allows. Nothing else in the file moves.

    Raises:
        ArtifactError: the file is truncated or damaged.
    """
    found = _entry_in(path, data := np.memmap(path, np.uint8, mode="r+"))
    assert found is not None
    assert len(content) <= len(found)
    found[:] = np.frombuffer(content.ljust(len(found)), np.uint8)
    data.flush()


def _entry_in(path: Path, data: np.ndarray) -> np.ndarray | None:
    """The bytes of the entry where they are in the file."""
    try:
        root = Reader(data).root()
        entries = root.tables(6)[:MOST_ENTRIES]
        index = next((e.number(1, "<I") for e in entries if e.text(0) == ENTRY), None)
        if index is None:
            return None
        start, size = root.tables(4)[index].vector(0, 1)
        return data[start : start + size]
    except (BrokenFile, LookupError) as error:
        raise damaged(path) from error


def damaged(path: Path) -> ArtifactError:
    """The error for a .tflite file that cannot be read."""
    return ArtifactError(
        "is a .tflite file, but truncated or damaged",
        where=str(path),
        expected="an artifact that `vit-convert export` wrote",
        hint="export the model again",
    )
