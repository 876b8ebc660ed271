"""vit-convert evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import console, options
from vit_convert.cli.rows import check_options, kept_unfinished
from vit_convert.errors import UsageError

if TYPE_CHECKING:
    from vit_convert.inference.evaluate import Form
    from vit_convert.inference.evaluation import Evaluation

_SHOWN = 30  # classes, before the best are left out


@click.command()
@click.argument("artifacts", type=options.PATH, nargs=-1, required=True)
@click.argument("image_folder", type=options.PICTURES)
@click.option("--limit", type=click.IntRange(1), help="At most so many pictures, evenly chosen.")
@click.option("--confusion", type=options.PATH, help="Draw the confusion matrices into this .png.")
@options.row_format
@options.rows_output
@options.resume
@options.workers
@options.ray
@options.force
@options.trust
@options.as_json
def evaluate(
    artifacts: tuple[Path, ...],
    image_folder: str,
    limit: int | None,
    confusion: Path | None,
    form: Form | None,
    output: str | None,
    resume: bool,
    workers: int | None,
    ray: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of artifacts over a folder with one subfolder per class.

    Subfolders are named as the model's labels are, or are in the order of its classes. The folder
    may be an address in object storage (s3://...). Files that cannot be read are listed, and passed
    over. With -o, a row of each picture and artifact goes into a file: path, class, artifact, the
    five most probable classes, labels and probabilities, error.
    """
    from vit_convert.inference.evaluate import evaluate as run
    from vit_convert.inference.evaluate import evaluate_on_ray
    from vit_convert.runtime.atomic_write import atomic_write, check_output

    check_options(form, output, resume, ray)
    if form and output is None:
        raise UsageError("there are no rows to write", where="--format", expected="-o FILE")
    if confusion is not None:
        check_output(confusion, force)
    asked: dict[str, Any] = {
        "limit": limit,
        "output": output,
        "resume": resume,
        "force": force,
        "workers": workers,
    }
    with (
        console.progress("evaluating") as progress,
        kept_unfinished(output),
        console.own_warnings(),
    ):
        if ray:
            results = evaluate_on_ray(artifacts, image_folder, ray, progress=progress, **asked)
        else:
            results = run(artifacts, image_folder, form=form, progress=progress, **asked)
    if confusion is not None:
        from vit_convert.reporting.confusion_figure import confusion_png

        with atomic_write(confusion, force) as scratch:
            scratch.write_bytes(confusion_png(results))
    for name in results[0].unreadable:
        console.warn(f"not read: {name}")
    if as_json:
        console.out_json({"artifacts": [result.to_dict() for result in results]})
    else:
        _print(results)
        if confusion is not None:
            console.out(f"{confusion}: confusion matrix")
        if output is not None:
            console.out(f"{output}: a row of each picture and artifact")


def _print(results: Sequence[Evaluation]) -> None:
    console.table(
        ("artifact", "images", "top-1 %", "top-5 %", "agrees with first %", "images/s"),
        [
            (
                str(r.path),
                str(r.images),
                f"{r.top1:.2f}",
                f"{r.top5:.2f}",
                f"{r.agreement:.2f}",
                f"{r.images_per_second:.0f}" if r.images_per_second else "-",
            )
            for r in results
        ],
    )
    names = [result.path.name for result in results]
    if len(results) > 2:
        console.table(
            ("agreement %", *names),
            [
                (name, *(f"{share:.2f}" for share in result.agreements))
                for name, result in zip(names, results, strict=True)
            ],
        )
    rows = [
        (each[0].name, each[0].images, [c.accuracy for c in each])
        for each in zip(*(result.classes for result in results), strict=True)
        if each[0].images
    ]
    rows.sort(key=lambda row: row[2][0] or 0.0)
    console.table(
        ("class", "images", *(f"{name} %" for name in names)),
        [(name, str(n), *(f"{a or 0:.2f}" for a in found)) for name, n, found in rows[:_SHOWN]],
    )
    if len(rows) > _SHOWN:
        console.out(f"the {_SHOWN} worst of {len(rows)} classes; --json has them all")
