"""vit-convert predict."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from vit_convert.cli import console, options
from vit_convert.cli.maps import write_maps
from vit_convert.cli.rows import Seen, check_options, kept_unfinished, print_rows
from vit_convert.cli.vectors import predict_vectors
from vit_convert.errors import UsageError
from vit_convert.progress import silent


@click.command()
@click.argument("artifact", type=options.PATH)
@click.argument("pictures", type=options.PICTURES, nargs=-1, required=True, metavar="PATH...")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes shown.")
@click.option("--labels", type=options.PATH, help="Class names.  [default: the artifact's]")
@click.option("--verbose", is_flag=True, help="Say how pictures are prepared.")
@options.row_format
@options.rows_output
@options.resume
@options.workers
@options.ray
@options.force
@options.trust
@options.as_json
def predict(
    artifact: Path,
    pictures: tuple[str, ...],
    top: int,
    labels: Path | None,
    verbose: bool,
    form: str | None,
    output: str | None,
    resume: bool,
    workers: int | None,
    ray: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say what is in pictures, or give a vector of each, with the model's own preprocessing.

    PATH is a picture, a folder, of which all pictures are taken, or the address of one of these in
    object storage (s3://...). Pictures are turned upright (EXIF), resized, cropped and normalised
    as the checkpoint's authors did; --verbose shows how.

    With --format, a row of each picture is printed as soon as it is known; with -o, the rows go
    into a file, which appears when it is whole. A row has path, classes, labels, probabilities and
    error. Pictures that cannot be read are listed, and their rows say why; only if none can be read
    is that an error.

    Of an artifact that gives embeddings or features, the vectors are written: -o FILE.npy (float32,
    a row of each picture in their order, NaN where one cannot be read), FILE.jsonl or FILE.parquet
    (path, embedding, error).

    Models that say something of every pixel (depth, segments) write into a folder, -o FOLDER: of
    each picture NAME.png, the map in colours at the picture's size, and NAME.npy, its numbers.
    """
    from vit_convert.exporters import open_artifact
    from vit_convert.images.storage import find_pictures, storage_of
    from vit_convert.inference.maps import MAPS
    from vit_convert.inference.predict import Prediction
    from vit_convert.inference.predict_rows import (
        predicted_on_ray,
        predicted_rows,
        table_of,
        write_predictions,
    )
    from vit_convert.inference.rows import format_of
    from vit_convert.inference.running import steps_of
    from vit_convert.labels.names import read_labels

    check_options(form, output, resume, ray)
    if as_json and form and output is None:
        raise UsageError(
            "both say how to print", where=f"--json --format {form}", expected="one of them"
        )
    names = read_labels(labels) if labels else ()
    # Bars would be in the way of rows on the same terminal.
    busy = output is None and not as_json and sys.stdout.isatty()
    showing = nullcontext(silent) if busy else console.progress("looking at pictures")
    with showing as progress:
        progress(f"opening {artifact.name}")
        opened = open_artifact(artifact)
        opened.check_takes_pictures()
        if opened.output.kind in MAPS:
            refused = {"--format": form, "--ray": ray, "--resume": resume, "--labels": labels}
            how: dict[str, Any] = {"force": force, "as_json": as_json, "progress": progress}
            write_maps(opened, pictures, output, refused, **how)
            return
        storage, found = storage_of(pictures), find_pictures(pictures)
        if verbose:
            for step in steps_of(opened):
                console.note(f"each picture: {step}")
        if opened.output.is_vector:
            said = predict_vectors(
                *(opened, found, storage),
                form=form,
                output=output,
                force=force,
                as_json=as_json,
                refused={"--labels": names, "--resume": resume, "--ray": ray},
                progress=progress,
            )
            if as_json:
                console.out_json({**said, "preprocessing": steps_of(opened)})
            return
        if output is not None and not ray:
            form = format_of(Path(output), form)
        table = table_of(opened, top, names)
        seen = Seen(len(found), progress)
        job = (opened, found, storage, table)
        with kept_unfinished(output):
            if ray:
                units = predicted_on_ray(
                    *job, ray, output=output, resume=resume, force=force, workers=workers
                )
                rows = seen.units(units)
            elif output is not None:
                written = write_predictions(
                    *(*job, Path(output)), form=form, resume=resume, force=force, workers=workers
                )
                rows = seen.all(written)
            else:
                rows = seen.all(predicted_rows(*job, workers=workers))
            if output is not None:
                for _ in rows:
                    pass
            elif as_json:
                predictions = [Prediction.of(row).to_dict() for row in rows]
            else:
                print_rows(rows, form, table)
    if as_json:
        count = {"pictures": seen.count, "unreadable": seen.unreadable}
        result = {"output": output, **count} if output else {"predictions": predictions}
        console.out_json({**result, "preprocessing": steps_of(opened)})
    elif output is not None:
        console.out(f"{output}: {seen}")
    elif seen.unreadable:
        console.note(f"{seen}")
