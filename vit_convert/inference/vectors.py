"""Pictures in, one vector of each out, into a file: what `predict` writes of embeddings.

Rows have path, the vector under the name of the output ("embedding"), and error, which says why a
picture cannot be read; there is no vector then. A .npy file holds the vectors alone, float32
(pictures, dim), in the order of the pictures; those that cannot be read are NaN throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import DYNAMIC, Artifact
from vit_convert.images.decoding import ImageError
from vit_convert.images.pictures import decode_picture
from vit_convert.images.preprocessing import to_pixels
from vit_convert.images.storage import Storage
from vit_convert.inference.rows import (
    Row,
    arrow_module,
    as_text,
    json_line,
    parquet_module,
    stated_format,
)
from vit_convert.inference.running import as_input
from vit_convert.inference.scoring import none_was_read
from vit_convert.runtime.atomic_write import atomic_write

FORMATS = ("npy", "jsonl", "parquet")


def vectors_of(artifact: Artifact, names: Sequence[str], storage: Storage) -> Iterator[list[Row]]:
    """The rows of pictures, chunk by chunk, in their order.

    Args:
        artifact: open; it gives one vector of each picture.
        names: of the pictures, as `vit_convert.images.storage.find_pictures` gives them.
        storage: where they are.

    Raises:
        UsageError: the artifact does not take RGB.
        ImageError: none of the pictures can be read.
    """
    size, how = artifact.spec.config.image_size, artifact.spec.preprocessing
    problem: ImageError | None = None
    read = 0
    for start in range(0, len(names), DYNAMIC):
        rows: list[Row] = []
        pixels = []
        for name in names[start : start + DYNAMIC]:
            row: Row = {"path": name, artifact.output.name: None, "error": None}
            try:
                pixels.append(to_pixels(decode_picture(name, storage.read), size, how))
            except ImageError as error:
                problem = problem or error
                row["error"] = error.what
            rows.append(row)
        if pixels:
            found = artifact.first_output(as_input(np.stack(pixels), artifact))
            vectors = iter(found.astype(np.float32, copy=False))
            for row in rows:
                if row["error"] is None:
                    row[artifact.output.name] = next(vectors)
        read += len(pixels)
        yield rows
    if problem is not None and not read:
        raise none_was_read(len(names), problem)


def vector_format(output: Path, stated: str | None = None) -> str:
    """The format of a file of vectors: as stated, else as its name says.

    Raises:
        UsageError: it is none that vectors are written in.
        MissingDependencyError: it is Parquet, and pyarrow is not installed.
    """
    found = stated_format(output, stated)
    if found not in FORMATS:
        raise UsageError(
            f"vectors are not written as {found or 'a file without a suffix'!r}",
            where=str(output),
            expected="a name that ends in .npy, .jsonl or .parquet",
            hint=f"-o {output.with_suffix('.npy')}",
        )
    return found


def write_vectors(
    chunks: Iterable[list[Row]],
    output: Path,
    artifact: Artifact,
    count: int,
    force: bool,
    form: str,
) -> Iterator[list[Row]]:
    """Write rows into a file, which appears whole when all are yielded.

    Args:
        chunks: as `vectors_of` gives them.
        output: the file.
        artifact: that gives the vectors.
        count: of the pictures.
        force: replace an existing output.
        form: as `vector_format` gives it.

    Raises:
        OutputError: the output exists or cannot be written.
    """
    with atomic_write(output, force) as path:
        yield from _WRITERS[form](chunks, path, artifact, count)


def _write_npy(
    chunks: Iterable[list[Row]], path: Path, artifact: Artifact, count: int
) -> Iterator[list[Row]]:
    name, (dim,) = artifact.output.name, artifact.output.shape
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        missing = np.full(dim, np.nan, np.float32)
        for rows in chunks:
            vectors = [missing if row[name] is None else row[name] for row in rows]
            file.write(np.stack(vectors).astype("<f4").tobytes())
            yield rows


def _write_json_lines(
    chunks: Iterable[list[Row]], path: Path, artifact: Artifact, count: int
) -> Iterator[list[Row]]:
    with path.open("w", encoding="ascii") as file:
        for rows in chunks:
            file.writelines(json_line(plain_row(row)) for row in rows)
            yield rows


def _write_parquet(
    chunks: Iterable[list[Row]], path: Path, artifact: Artifact, count: int
) -> Iterator[list[Row]]:
    arrow, parquet = arrow_module(), parquet_module(str(path))
    name = artifact.output.name
    schema = arrow.schema(
        [("path", arrow.string()), (name, arrow.list_(arrow.float32())), ("error", arrow.string())]
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in chunks:
            table = {key: [row[key] for row in rows] for key in ("path", name, "error")}
            table["path"] = [as_text(name) for name in table["path"]]
            writer.write_table(arrow.table(table, schema=schema))
            yield rows


def plain_row(row: Row) -> Row:
    """A row in values that JSON knows."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()}


_Writer = Callable[[Iterable[list[Row]], Path, Artifact, int], Iterator[list[Row]]]
_WRITERS: dict[str, _Writer] = {
    "npy": _write_npy,
    "jsonl": _write_json_lines,
    "parquet": _write_parquet,
}
