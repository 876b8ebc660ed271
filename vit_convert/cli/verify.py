"""vit-convert verify."""

from __future__ import annotations

from pathlib import Path

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
    help="Of |difference| / max |logit|.  [default: 1e-5; 5e-3 for float16]",
)
@options.as_json
def verify(
    artifact: Path,
    source: Path | None,
    reference: Path | None,
    images: Path | None,
    key: str | None,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Compare an artifact with the checkpoint it came from, or with recorded logits.

    Exits with 1 if they differ by more than the tolerance, and names the first block that does.
    """
    from vit_convert.parity.report import as_dict, columns, row
    from vit_convert.parity.verify import verify as run

    result = run(
        artifact,
        source=source,
        reference=reference,
        images=images,
        key=key,
        tolerance=tolerance,
    )
    if as_json:
        console.out_json(as_dict(result))
    else:
        console.table(columns(), [row(result)])
        console.out(f"compared with {result.reference} on {result.num_images} images")
        if result.first_difference:
            console.out(f"the first block that differs is {result.first_difference}")
        elif result.where:
            console.out(f"where the difference begins: {result.where}")
        if result.note:
            console.warn(result.note)
    raise SystemExit(0 if result.passed else 1)
