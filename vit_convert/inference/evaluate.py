"""Accuracy of artifacts over a folder of labelled pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vit_convert.exporters.artifact import Artifact
from vit_convert.images.storage import find_labelled, storage_of
from vit_convert.inference.evaluation import Counter, Evaluation
from vit_convert.inference.parts import Parts
from vit_convert.inference.predict import class_names
from vit_convert.inference.ray_rows import scored_on_ray
from vit_convert.inference.rows import Table, format_of, in_pictures, scores_of
from vit_convert.inference.run_identity import identity_of
from vit_convert.inference.scoring import Pool
from vit_convert.inference.unfinished import Unfinished
from vit_convert.progress import Progress, silent

_TOP = 5


def evaluate(
    artifacts: Iterable[Artifact],
    folder: str | Path,
    *,
    limit: int | None = None,
    output: Path | None = None,
    form: str | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Evaluation]:
    """Evaluate artifacts on the same pictures.

    Args:
        artifacts: open artifacts, of models with the same classes. They are asked for once the
            folder has been looked through, so that a bad one is refused before anything is opened.
        folder: one subfolder per class, named as the labels or in the order of the classes; or the
            address of such a folder in object storage.
        limit: at most so many pictures, spread evenly over the folder.
        output: a file for a row of each picture and artifact (see `vit_convert.inference.rows`).
            While it is not whole, what there is of it is in a folder beside it, OUTPUT.partial.
        form: "jsonl", "csv" or "parquet"; by default as the output's name says.
        resume: go on where an earlier run with this output was stopped.
        force: replace an existing output.
        workers: threads that decode and score; as many as there are cores by default.
        progress: told how many pictures are done.

    Returns:
        one result for each artifact, in their order, over the pictures that can be read.

    Raises:
        UsageError: the folder's classes are not the model's, no picture can be read, an artifact
            gives no classes, or an earlier run was another one.
        ImageError: there is no such folder, or no picture in a subfolder of it.
        OutputError: the output exists or cannot be written, or there is an earlier run.
        MissingDependencyError: Parquet or object storage is asked for, and pyarrow is missing.
    """
    classes, items = labelled(folder, limit)
    artifacts = tuple(artifacts)
    counter = Counter(artifacts, classes, str(folder))
    names, table = [name for name, _ in items], table_of(artifacts)
    pool = Pool(artifacts, table.top, storage_of([folder]).read, workers)
    unfinished = None
    if output is not None:
        written = format_of(output, form)
        identity = identity_of([a.path for a in artifacts], names, table, chunk=pool.chunk)
        unfinished = Unfinished(output, identity, names, table, pool.chunk, resume, force)
    try:
        done = unfinished.done if unfinished else 0
        if unfinished:
            before = in_pictures(unfinished.rows(), table)
            for rows, (_, true_class) in zip(before, items[:done], strict=True):
                counter.add(scores_of(rows), true_class)
        progress("pictures", done, len(names))
        for chunk in pool.scores(names[done:]):
            truths = [true_class for _, true_class in items[done : done + len(chunk)]]
            for scores, true_class in zip(chunk, truths, strict=True):
                counter.add(scores, true_class)
            if unfinished:
                pairs = zip(chunk, truths, strict=True)
                unfinished.add(row for scores, true in pairs for row in table.rows(scores, true))
            done += len(chunk)
            progress("pictures", done, len(names))
        results = counter.results(pool.rates)
        if unfinished:
            unfinished.finish(written)
    finally:
        if unfinished:
            unfinished.close()
    return results


def evaluate_on_ray(
    artifacts: Iterable[Artifact],
    folder: str | Path,
    address: str,
    *,
    limit: int | None = None,
    output: str | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Evaluation]:
    """Evaluate artifacts on the same pictures, on a Ray cluster.

    Args:
        artifacts, folder, limit, progress: as of `evaluate`.
        address, output, resume, force, workers: as of
            `vit_convert.inference.ray_rows.scored_on_ray`.

    Returns:
        as `evaluate`; nothing is said of images per second.

    Raises:
        VitConvertError: as `evaluate` and `scored_on_ray`.
    """
    classes, items = labelled(folder, limit)
    artifacts = tuple(artifacts)
    counter = Counter(artifacts, classes, str(folder))
    storage = storage_of([folder])
    table, done = table_of(artifacts), 0
    progress("pictures", 0, len(items))
    units = scored_on_ray(
        *(artifacts, items, storage, table, address),
        output=output,
        resume=resume,
        force=force,
        workers=workers,
    )
    for unit in units:
        rows = unit.rows
        if len(rows) < unit.count * table.rows_per_picture:
            assert output is not None
            rows = Parts(output).read(unit.number)
        truths = [true_class for _, true_class in items[unit.start : unit.start + unit.count]]
        for each, true_class in zip(in_pictures(rows, table), truths, strict=True):
            counter.add(scores_of(each), true_class)
        done += unit.count
        progress("pictures", done, len(items))
    return counter.results([None] * len(artifacts))


def labelled(
    folder: str | Path, limit: int | None
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The classes of a folder, and (picture, class) of at most `limit` pictures, evenly chosen.

    Raises:
        ImageError: there is no such folder, or no picture in a subfolder of it.
    """
    classes, items = find_labelled(folder)
    if limit is not None and limit < len(items):
        items = [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]
    return classes, items


def table_of(artifacts: Sequence[Artifact]) -> Table:
    """The rows that are written of each picture."""
    labels = tuple(class_names(artifact) for artifact in artifacts)
    top = min(_TOP, *(len(names) for names in labels))
    return Table(top, labels, tuple(str(artifact.path) for artifact in artifacts))
