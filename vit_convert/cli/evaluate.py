"""vit-convert evaluate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from vit_convert.cli import console, options


@click.command()
@click.argument("artifacts", type=options.PATH, nargs=-1, required=True)
@click.argument("image_folder", type=options.PATH)
@click.option("--limit", type=click.IntRange(1), help="At most so many pictures, evenly chosen.")
@options.as_json
def evaluate(
    artifacts: tuple[Path, ...], image_folder: Path, limit: int | None, as_json: bool
) -> None:
    """Measure the accuracy of artifacts over a folder with one subfolder per class."""
    from vit_convert.evaluation import evaluate as run
    from vit_convert.exporters import open_artifact
    from vit_convert.images import ImageFolder

    opened = [open_artifact(path) for path in artifacts]
    total = len(list(ImageFolder(image_folder)))
    with console.bar("evaluating", min(total, limit or total)) as advance:
        results = run(opened, image_folder, limit=limit, progress=advance)
    if as_json:
        console.out_json(
            {"artifacts": [asdict(result) | {"path": str(result.path)} for result in results]}
        )
        return
    for name in results[0].unreadable:
        console.warn(f"not read: {name}")
    console.table(
        ("artifact", "images", "top-1 %", "top-5 %", "agrees with first %", "images/s"),
        [
            (
                str(r.path),
                str(r.images),
                f"{r.top1:.2f}",
                f"{r.top5:.2f}",
                f"{r.agreement:.2f}",
                f"{r.images_per_second:.0f}",
            )
            for r in results
        ],
    )
