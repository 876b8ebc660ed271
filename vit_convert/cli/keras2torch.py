"""vit-convert keras2torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vit_convert.cli import console, options

if TYPE_CHECKING:
    from vit_convert.conversion.files import FloatType


@click.command()
@click.argument("model", type=options.PATH)
@click.option(
    "-o",
    "output",
    type=options.PATH,
    help="The .safetensors, .pth or .npz to write.  [default: ./<name>.safetensors]",
)
@click.option(
    "--dialect", type=options.DIALECT, help="Names to use.  [default: those of the source]"
)
@options.rules
@click.option(
    "--dtype",
    type=click.Choice(("float32", "float16", "bfloat16")),
    help="Round all weights to this type.  [default: each has that of the source]",
)
@options.force
@options.as_json
def keras2torch(
    model: Path,
    output: Path | None,
    dialect: str | None,
    rules: Path | None,
    dtype: FloatType | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert a Keras .h5 file back into a PyTorch checkpoint, every tensor bit for bit.

    With --dtype, floating-point tensors are rounded to the nearest value of that type.
    """
    from vit_convert.conversion.files import keras2torch as transfer

    target = output or Path(f"{model.stem}.safetensors")
    used = transfer(model, target, dialect_name=dialect, rules=rules, dtype=dtype, force=force)
    if as_json:
        found = {"source": str(model), "path": str(target), "dialect": used}
        console.out_json(found | {"bytes": target.stat().st_size})
        return
    console.out(f"{target}: names of {used}, {console.megabytes(target.stat().st_size)}")
