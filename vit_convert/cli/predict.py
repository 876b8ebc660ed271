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
@click.option("--verbose", is_flag=True, help="Say how pictures are prepared.")
@options.trust
@options.as_json
def predict(
    artifact: Path,
    images: tuple[Path, ...],
    top: int,
    labels: Path | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Say what is in pictures, with the model's own preprocessing.

    Pictures are turned upright (EXIF), resized, cropped and normalised as the checkpoint's authors
    did; --verbose shows how.
    """
    from vit_convert.exporters import open_artifact
    from vit_convert.inference.predict import predict as run
    from vit_convert.inference.predict import steps_of
    from vit_convert.labels.names import read_labels

    names = read_labels(labels) if labels else ()
    with console.progress("looking at pictures") as progress:
        progress(f"opening {artifact.name}")
        opened = open_artifact(artifact)
        if verbose:
            for step in steps_of(opened):
                console.note(f"each picture: {step}")
        results = run(opened, images, top=top, labels=names, progress=progress)
    if as_json:
        found = [asdict(r) | {"path": str(r.path)} for r in results]
        console.out_json({"predictions": found, "preprocessing": steps_of(opened)})
        return
    for result in results:
        console.out(str(result.path))
        for label, probability in zip(result.labels, result.probabilities, strict=True):
            console.out(f"  {probability:6.1%}  {label}")
