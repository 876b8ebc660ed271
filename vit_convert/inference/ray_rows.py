"""Rows of many pictures, scored on Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vit_convert.exporters.artifact import Artifact
from vit_convert.images.storage import Storage
from vit_convert.inference.parts import Parts
from vit_convert.inference.ray_run import on_ray
from vit_convert.inference.ray_worker import Item, Job, UnitDone
from vit_convert.inference.rows import Table
from vit_convert.inference.run_identity import identity_of
from vit_convert.inference.scoring import chunk_size
from vit_convert.runtime.versions import versions


def scored_on_ray(
    artifacts: Sequence[Artifact],
    items: Sequence[Item],
    storage: Storage,
    table: Table,
    address: str,
    *,
    output: str | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
) -> Iterator[UnitDone]:
    """Score pictures on Ray, with the numbers and the rows of the local path.

    Args:
        artifacts: open; each actor loads them from a copy that it is sent.
        items: (name, class) of the pictures; the class is "" for `predict`.
        storage: where they are. Paths must be those of every machine of the cluster.
        table: the rows.
        address: of the cluster, as `vit_convert.inference.ray_address.check_address` takes it.
        output: a folder, or its address, for a Parquet file of each unit; it, too, must be the same
            on every machine.
        resume: go on where an earlier run with this output was stopped.
        force: replace an existing output.
        workers: actors; by default one for each core of the cluster.

    Yields:
        each unit of pictures that is done, with all of its rows where there is no output; those of
        an earlier run too, with all of their rows.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: the cluster cannot be reached, or an earlier run was another one.
        OutputError: the output exists or cannot be written, or there is an earlier run.
        VitConvertError: Ray failed.
    """
    chunk, paths = chunk_size(artifacts), tuple(artifact.path for artifact in artifacts)
    parts = Parts(output) if output else None
    identity = {}
    if parts is not None:
        names = [name for name, _ in items]
        identity = parts.begin(identity_of(paths, names, table, chunk=chunk), resume, force)
    try:
        with on_ray(address, workers, paths) as run:
            size = identity.get("unit") or run.unit_size(len(items), chunk)
            before: set[int] = set()
            if parts is not None:
                parts.store(identity | {"unit": size})
                before = parts.done()
            count = -(-len(items) // size)
            units = [(i, i * size, items[i * size : (i + 1) * size]) for i in range(count)]
            job = Job(
                paths,
                table,
                chunk,
                replace(storage, folder=os.getcwd()),
                parts,
                versions()["vit-convert"],
            )
            for number, start, _ in units:
                if parts is not None and number in before:
                    yield _of_part(parts, number, start, table)
            yield from run.scored(job, [unit for unit in units if unit[0] not in before])
        if parts is not None:
            parts.finish(force)
    except BaseException:
        if parts is not None:
            parts.discard_if_empty()
        raise


def _of_part(parts: Parts, number: int, start: int, table: Table) -> UnitDone:
    """A unit that was done before."""
    rows, each = parts.read(number), table.rows_per_picture
    unreadable = sum(row["error"] is not None for row in rows) // each
    return UnitDone(number, start, len(rows) // each, unreadable, rows)
