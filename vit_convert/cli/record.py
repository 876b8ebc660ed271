"""vit-convert record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vit_convert.cli import console, options


@click.command()
@click.option(
    "--model",
    metavar="MODULE:FUNCTION",
    required=True,
    help="Your own model: a function without arguments that gives a torch.nn.Module. Your code is "
    "run.",
)
@click.option(
    "--source",
    type=options.PATH,
    metavar="CHECKPOINT",
    help="Its weights, every tensor of which must fit.  [default: the model as it is]",
)
@click.option("--images", type=options.PATH, metavar="DIR", help="Pictures to run, beside noise.")
@click.option("-o", "output", type=options.PATH, required=True, help="The .npz to write.")
@click.option("--key", metavar="NAME", help="Which nested state dict of the source.")
@click.option("--image-size", type=options.ImageSize(), help="Of the images, in pixels.")
@click.option("--mean", type=options.Channels(), help="Mean of the channels, for pixels in 0..1.")
@click.option("--std", type=options.Channels(), help="Standard deviation of the channels.")
@click.option(
    "--interpolation", type=click.Choice(["bicubic", "bilinear"]), help="How pictures are resized."
)
@click.option("--crop-pct", type=float, help="Centre crop over resized side.")
@click.option(
    "--crop-mode",
    type=click.Choice(["center", "squash"]),
    help="Whether pictures keep their proportions when they are resized.",
)
@options.force
@options.as_json
def record(
    model: str,
    source: Path | None,
    images: Path | None,
    output: Path,
    key: str | None,
    force: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Record what your own model gives, for `verify --reference`.

    It is run in float32 on four images of noise and on the pictures, and its logits are written
    with the images, and with what each of its blocks gives for the first, where those are found:
    so the artifact can be verified where neither PyTorch nor your code is.

    The module is looked for in the current folder first. Image size, mean and deviation are those
    that the checkpoint is recognised with, or the options'. Tell the truth about them: pictures are
    recorded as they are prepared here.
    """
    from vit_convert.architectures import Overrides
    from vit_convert.architectures.ranges import as_text
    from vit_convert.parity.recording import record as run

    with console.progress("recording") as progress:
        done = run(
            model,
            output,
            source=source,
            images=images,
            key=key,
            overrides=Overrides(**overrides),
            force=force,
            progress=progress,
        )
    how = done.preprocessing
    if as_json:
        console.out_json(done.to_dict())
        return
    blocks = f"{len(done.blocks) - 1} blocks" if done.blocks else "no blocks, which were not found"
    console.out(
        f"{done.path}: {done.images - done.pictures} images of noise and {done.pictures} pictures "
        f"of {as_text(done.image_size)}, {done.classes} values each, {blocks}"
    )
    console.out(f"  given by {done.made_with}")
    prepared = f", mean {as_text(how.mean)}, std {as_text(how.std)}" if done.pictures else ""
    console.out(f"  image size{prepared}: from {done.taken_from}")
