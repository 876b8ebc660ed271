"""vit-convert verify."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from vit_convert.cli import console, options


@click.command()
@click.argument("artifact", type=options.PATH)
@click.option("--source", type=options.PATH, help="The checkpoint, run in PyTorch.")
@click.option("--reference", type=options.PATH, help="Recorded images and logits (.npz).")
@click.option("--images", type=options.PATH, help="A folder of pictures to compare on.")
@click.option("--key", metavar="NAME", help="Which nested state dict of the source.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    help="Of |difference| / max |logit|.  [default: 1e-5; 5e-3 for float16, 0.08 "
    "for int8-dynamic, 0.25 for int8]",
)
@click.option(
    "--delegate",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="What a .tflite file runs on: gpu is LiteRT's GPU accelerator, with no CPU fallback.",
)
@options.as_json
def verify(
    artifact: Path,
    source: Path | None,
    reference: Path | None,
    images: Path | None,
    key: str | None,
    tolerance: float | None,
    delegate: Literal["cpu", "gpu"],
    as_json: bool,
) -> None:
    """Compare an artifact with the checkpoint it came from, or with recorded logits.

    Exits with 1 if they differ by more than the tolerance, and names the first block that does; or
    if the GPU refuses an operation, and names that and its block.

    --delegate gpu uses the GPU of the machine's Vulkan driver; without one, SwiftShader, which
    needs no GPU, where Chromium is installed. VK_ICD_FILENAMES chooses another driver.
    """
    from vit_convert.parity.report import as_dict, columns, gpu_lines, row
    from vit_convert.parity.verify import verify as run

    if delegate == "gpu":
        console.note(f"running {artifact.name} on the GPU")
    result = run(
        artifact,
        source=source,
        reference=reference,
        images=images,
        key=key,
        tolerance=tolerance,
        delegate=delegate,
    )
    if as_json:
        console.out_json(as_dict(result))
    else:
        console.table(columns(), [row(result)])
        if result.num_images:
            console.out(f"compared with {result.reference} on {result.num_images} images")
        for line in gpu_lines(result.gpu) if result.gpu else ():
            console.out(line)
        if result.first_difference:
            console.out(f"the first block that differs is {result.first_difference}")
        elif result.where and result.num_images:
            console.out(f"where the difference begins: {result.where}")
        if result.note:
            console.warn(result.note)
    raise SystemExit(0 if result.passed else 1)
