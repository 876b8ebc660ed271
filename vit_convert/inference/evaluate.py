"""Accuracy of artifacts over a folder of labelled pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np

from vit_convert.errors import PictureWarning, UsageError, described
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.given import ArtifactLike, given_artifacts
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
Form = Literal["jsonl", "csv", "parquet"]


@overload
def evaluate(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike,
    folder: str | Path,
    *,
    limit: int | None = None,
    output: str | Path | None = None,
    form: Form | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Evaluation: ...


@overload
def evaluate(
    artifacts: Iterable[ArtifactLike],
    folder: str | Path,
    *,
    limit: int | None = None,
    output: str | Path | None = None,
    form: Form | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Evaluation]: ...


def evaluate(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    folder: str | Path,
    *,
    limit: int | None = None,
    output: str | Path | None = None,
    form: Form | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Evaluation | list[Evaluation]:
    """Evaluate artifacts on the same pictures.

    Args:
        artifacts: the path of an artifact, an open one, or several of either, of models with the
            same classes. They are opened once the folder has been looked through.
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
        the result over the pictures that can be read; of several artifacts a list, in their order.

    Raises:
        UsageError: an artifact or the folder is none, the folder's classes are not the model's, no
            picture can be read, an artifact gives no classes, or an earlier run was another one.
        ArtifactError: an artifact cannot be opened.
        ImageError: there is no such folder, or no picture in a subfolder of it.
        OutputError: the output exists or cannot be written, or there is an earlier run.
        MissingDependencyError: Parquet or object storage is asked for, and pyarrow is missing.

    Warns:
        PictureWarning: some pictures cannot be read; `Evaluation.unreadable` lists them.
    """
    given = given_artifacts(artifacts)
    classes, items = labelled(folder, limit)
    opened = given.open(progress)
    counter = Counter(opened, classes, str(folder))
    names, table = [name for name, _ in items], table_of(opened)
    pool = Pool(opened, table.top, storage_of([folder]).read, workers)
    unfinished = None
    if output is not None:
        file = Path(output)
        written = format_of(file, form)
        identity = identity_of([a.path for a in opened], names, table, chunk=pool.chunk)
        unfinished = Unfinished(file, identity, names, table, pool.chunk, resume, force)
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
    if bad := results[0].unreadable:
        message = f"{len(bad)} of {len(names)} pictures cannot be read; the first: {bad[0]}"
        warnings.warn(PictureWarning(message), stacklevel=2)
    return results if given.several else results[0]


def evaluate_on_ray(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
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
        a list, in the order of the artifacts; nothing is said of images per second.

    Raises:
        VitConvertError: as `evaluate` and `scored_on_ray`.
    """
    given = given_artifacts(artifacts)
    classes, items = labelled(folder, limit)
    opened = given.open(progress)
    counter = Counter(opened, classes, str(folder))
    storage = storage_of([folder])
    table, done = table_of(opened), 0
    progress("pictures", 0, len(items))
    units = scored_on_ray(
        *(opened, items, storage, table, address),
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
    return counter.results([None] * len(opened))


def labelled(
    folder: str | Path, limit: int | None
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The classes of a folder, and (picture, class) of at most `limit` pictures, evenly chosen.

    Raises:
        UsageError: what was given is no path.
        ImageError: there is no such folder, or no picture in a subfolder of it.
    """
    if not isinstance(folder, (str, Path)):
        raise UsageError(
            f"cannot be {described(folder)}",
            where="folder",
            expected="the path or the address of a folder with one subfolder per class",
        )
    if limit is not None and limit < 1:
        raise UsageError(f"limit cannot be {limit}", expected="at least one picture")
    classes, items = find_labelled(folder)
    if limit is not None and limit < len(items):
        items = [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]
    return classes, items


def table_of(artifacts: Sequence[Artifact]) -> Table:
    """The rows that are written of each picture."""
    labels = tuple(class_names(artifact) for artifact in artifacts)
    top = min(_TOP, *(len(names) for names in labels))
    return Table(top, labels, tuple(str(artifact.path) for artifact in artifacts))
