"""The part of `vit-convert predict` that is about artifacts which give a vector of each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_convert.cli import console
from vit_convert.cli.rows import Seen, print_line
from vit_convert.errors import UsageError

if TYPE_CHECKING:
    from vit_convert.exporters import Artifact
    from vit_convert.images.storage import Storage
    from vit_convert.progress import Progress

_SHOWN = 4  # values of each vector


def predict_vectors(
    artifact: Artifact,
    found: Sequence[str],
    storage: Storage,
    *,
    form: str | None,
    output: str | None,
    force: bool,
    as_json: bool,
    refused: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Print or write the vectors of pictures.

    Args:
        artifact, found, storage: the artifact, open; the pictures, and where they are.
        form, output, force, as_json: the options.
        refused: options that only rows of classes have -> their values.
        progress: told how many pictures are done.

    Returns:
        what `--json` prints.
    """
    from vit_convert.inference.rows import json_line
    from vit_convert.inference.vectors import (
        plain_row,
        vector_format,
        vectors_of,
        write_vectors,
    )

    kind = artifact.output.kind
    for option, value in refused.items():
        if value:
            raise UsageError(
                f"the artifact gives {kind}, for which there is no {option}",
                where=option,
                expected="-o FILE.npy, FILE.jsonl or FILE.parquet alone",
            )
    if output is None and form == "csv":
        raise UsageError(
            "vectors are not written as CSV", where="--format csv", expected="jsonl, or -o FILE.npy"
        )
    written = vector_format(Path(output), form) if output else ""
    chunks = vectors_of(artifact, found, storage)
    if output:
        chunks = write_vectors(chunks, Path(output), artifact, len(found), force, written)
    seen = Seen(len(found), progress)
    predictions = []
    for row in seen.all(chunks):
        if output:
            continue
        if as_json:
            predictions.append(plain_row(row))
        elif form == "jsonl":
            print_line(json_line(plain_row(row)))
        elif row["error"] is None:
            vector = row[artifact.output.name]
            some = ", ".join(f"{value:.4f}" for value in vector[:_SHOWN])
            console.out(console.one_line(row["path"]))
            console.out(f"  {artifact.output.name} of {len(vector)} values: {some}, ...")
    if output and not as_json:
        console.out(f"{output}: {seen}, {artifact.output.shape[0]} values each")
    elif seen.unreadable and not as_json:
        console.note(f"{seen}")
    count = {"pictures": seen.count, "unreadable": seen.unreadable}
    return {"output": output, **count} if output else {"predictions": predictions}
