"""vit-convert features."""

from __future__ import annotations

from pathlib import Path

import click

from vit_convert.cli import console, options


@click.command()
@click.argument("artifact", type=options.PATH)
@click.argument("images", type=options.PICTURES, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "-o",
    "output",
    type=options.PATH,
    metavar="FILE.png",
    help="The .png to write.  [default: ./<image>_features.png]",
)
@options.trust
@options.force
def features(artifact: Path, images: tuple[str, ...], output: Path | None, force: bool) -> None:
    """Draw what patches have in common: the first three principal components of their tokens.

    ARTIFACT was exported with --output tokens. The components are those of all patches of all
    pictures, so that the same colour means the same in each; they are drawn as red, green and blue,
    below the part of the picture that the model sees.
    """
    from vit_convert.inference.components import principal_colours
    from vit_convert.inference.features import patch_tokens
    from vit_convert.reporting.features_figure import features_png
    from vit_convert.runtime.atomic_write import atomic_write, check_output

    target = output or Path(f"{Path(images[0]).stem}_features.png")
    check_output(target, force)
    with console.progress("looking at pictures") as progress:
        pictures, tokens = patch_tokens(artifact, images, progress)
        with atomic_write(target, force) as scratch:
            scratch.write_bytes(features_png(pictures, principal_colours(tokens)))
    _, rows, columns, dim = tokens.shape
    count = f"{len(pictures)} picture{'s' * (len(pictures) != 1)}"
    console.out(f"{target}: {count}, {rows} x {columns} patches of {dim} values each")
