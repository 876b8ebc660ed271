"""Predictions of many pictures as rows: as they come, or into a file that can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vit_convert.exporters.artifact import Artifact
from vit_convert.images.decoding import ImageError
from vit_convert.images.storage import Storage
from vit_convert.inference.predict import class_names
from vit_convert.inference.ray_rows import scored_on_ray
from vit_convert.inference.ray_worker import UnitDone
from vit_convert.inference.rows import Row, Table, format_of
from vit_convert.inference.run_identity import identity_of
from vit_convert.inference.scoring import Pool, none_was_read
from vit_convert.inference.unfinished import Unfinished


def table_of(artifact: Artifact, top: int, labels: Sequence[str] = ()) -> Table:
    """The rows that are written of each picture.

    Raises:
        UsageError: the number of labels is not the number of classes.
    """
    names = class_names(artifact, labels)
    return Table(min(top, len(names)), (names,))


def predicted_rows(
    artifact: Artifact,
    names: Sequence[str],
    storage: Storage,
    table: Table,
    *,
    workers: int | None = None,
) -> Iterator[list[Row]]:
    """The rows of pictures, chunk by chunk, in the order of the pictures.

    Args:
        artifact: open.
        names: of the pictures, as `vit_convert.images.storage.find_pictures` gives them.
        storage: where they are.
        table: as `table_of` gives it.
        workers: threads that decode and score; as many as there are cores by default.

    Raises:
        UsageError: the artifact gives no classes, or does not take RGB.
        ImageError: none of the pictures can be read.
    """
    pool = Pool([artifact], table.top, storage.read, workers)
    for chunk in pool.scores(names):
        yield [row for scores in chunk for row in table.rows(scores)]
    pool.refuse_if_none_was_read(len(names))


def write_predictions(
    artifact: Artifact,
    names: Sequence[str],
    storage: Storage,
    table: Table,
    output: Path,
    *,
    form: str | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
) -> Iterator[list[Row]]:
    """Write a row of each picture into a file, which appears whole when all are yielded.

    Args:
        artifact, names, storage, table, workers: as of `predicted_rows`.
        output: the file. While it is not whole, what there is of it is in OUTPUT.partial.
        form: "jsonl", "csv" or "parquet"; by default as the output's name says.
        resume: go on where an earlier run with this output was stopped.
        force: replace an existing output.

    Yields:
        the rows of each chunk once they are written; those of an earlier run too, one by one.

    Raises:
        UsageError, ImageError: as `predicted_rows`; or an earlier run was another one.
        OutputError: the output exists or cannot be written, or there is an earlier run.
        MissingDependencyError: Parquet is asked for, and pyarrow is missing.
    """
    written = format_of(output, form)
    pool = Pool([artifact], table.top, storage.read, workers)
    identity = identity_of([artifact.path], names, table, chunk=pool.chunk)
    unfinished = Unfinished(output, identity, names, table, pool.chunk, resume, force)
    try:
        for row in unfinished.rows():
            yield [row]
        for chunk in pool.scores(names[unfinished.done :]):
            rows = [row for scores in chunk for row in table.rows(scores)]
            unfinished.add(rows)
            yield rows
        if not unfinished.done:
            try:
                pool.refuse_if_none_was_read(len(names))
            except ImageError:
                unfinished.discard()
                raise
        unfinished.finish(written)
    finally:
        unfinished.close()


def predicted_on_ray(
    artifact: Artifact,
    names: Sequence[str],
    storage: Storage,
    table: Table,
    address: str,
    *,
    output: str | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
) -> Iterator[UnitDone]:
    """The rows of pictures, unit by unit, scored on Ray.

    Args:
        artifact, names, storage, table: as of `predicted_rows`.
        address, output, resume, force, workers: as of
            `vit_convert.inference.ray_rows.scored_on_ray`.

    Raises:
        ImageError: none of the pictures can be read; rows that were written are kept.
        VitConvertError: as `scored_on_ray`.
    """
    items = [(name, "") for name in names]
    problem: ImageError | None = None
    read = 0
    units = scored_on_ray(
        *([artifact], items, storage, table, address),
        output=output,
        resume=resume,
        force=force,
        workers=workers,
    )
    for unit in units:
        read += unit.count - unit.unreadable
        bad = next((row for row in unit.rows if row["error"]), None)
        if problem is None and bad is not None:
            problem = ImageError(bad["error"], where=bad["path"])
        yield unit
    if problem is not None and not read:
        raise none_was_read(len(names), problem)
