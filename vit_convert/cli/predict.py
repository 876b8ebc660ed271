"""vit-convert predict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from vit_convert.cli import console, options


@click.command()
@click.argument("artifact", type=options.PATH)
@click.argument("images", type=options.PATH, nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes shown.")
@click.option("--labels", type=options.PATH, help="Class names.  [default: the artifact's]")
@options.as_json
def predict(
    artifact: Path, images: tuple[Path, ...], top: int, labels: Path | None, as_json: bool
) -> None:
    """Say what is in pictures, with the model's own preprocessing."""
    from vit_convert.exporters import open_artifact
    from vit_convert.labels import read_labels
    from vit_convert.prediction import predict as run

    names = read_labels(labels) if labels else ()
    results = run(open_artifact(artifact), images, top=top, labels=names)
    if as_json:
        console.out_json({"predictions": [asdict(r) | {"path": str(r.path)} for r in results]})
        return
    for result in results:
        console.out(str(result.path))
        for label, probability in zip(result.labels, result.probabilities, strict=True):
            console.out(f"  {probability:6.1%}  {label}")
