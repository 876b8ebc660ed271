"""vit-convert attention."""

from __future__ import annotations

from pathlib import Path

import click

from vit_convert.cli import console, options
from vit_convert.errors import UsageError


@click.command()
@click.argument("artifact", type=options.PATH)
@click.argument("image", type=options.PATH)
@click.option(
    "-o", "output", type=options.PATH, help="The .png to write.  [default: ./<image>_attention.png]"
)
@click.option(
    "--block",
    type=options.Block(),
    help="Which block, from 0.  [default: last; of a CaiT all class-attention blocks]",
)
@click.option("--head", type=click.IntRange(0), help="Show this head alone, from 0.")
@click.option("--rollout", is_flag=True, help="Show the attention rollout over all blocks.")
@options.trust
@options.force
def attention(
    artifact: Path,
    image: Path,
    output: Path | None,
    block: int | None,
    head: int | None,
    rollout: bool,
    force: bool,
) -> None:
    """Draw where a model looks: saliency over the picture, and the maps of its heads.

    ARTIFACT is a Keras .h5, or anything exported with --attention. Shown is what the class token
    attends to: in the last block, in the one that --block chooses, or over all blocks (--rollout,
    arXiv:2005.00928). A CaiT shows its class-attention blocks, as in arXiv:2103.17239; a model
    that does not pool by a class token, the mean over its patches.
    """
    from vit_convert.reporting.attention import attention as run
    from vit_convert.runtime.atomic_write import atomic_write, check_output

    if image.is_dir():
        raise UsageError("is a folder", where=str(image), expected="one picture")
    target = output or Path(f"{image.stem}_attention.png")
    check_output(target, force)
    with console.progress(f"looking at {image.name}") as progress:
        (seen,) = run(artifact, image, block=block, head=head, rollout=rollout, progress=progress)
        with atomic_write(target, force) as scratch:
            scratch.write_bytes(seen.png())
    console.out(f"{target}: {seen.view.saliency_of}, {seen.view.query}")
