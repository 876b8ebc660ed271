"""vit-convert train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import options
from vit_convert.cli.training_command import Run, run
from vit_convert.cli.training_options import TRAINING, recipe_of, recipe_options, run_options

if TYPE_CHECKING:
    from vit_convert.training.folders import LabelledPictures
    from vit_convert.training.recipe import Recipe
    from vit_convert.training.start import Beginning


@click.command()
@click.argument("variant")
@click.argument("image_folder", type=options.PATH)
@click.option("--image-size", type=options.ImageSize(), help="Of the model's input.")
@click.option("--patch-size", type=options.ImageSize(), help="Of a patch.")
@click.option(
    "--pool",
    type=click.Choice(["token", "avg", "max", "avgmax", "map"]),
    help="What the head reads: the class token, or what of the patches.",
)
@click.option("--class-token/--no-class-token", default=None, help="Whether there is one.")
@click.option("--depth", type=click.IntRange(1), help="Blocks.")
@click.option("--embed-dim", type=click.IntRange(1), help="Width of the tokens.")
@click.option("--num-heads", type=click.IntRange(1), help="Attention heads.")
@click.option(
    "--init",
    type=click.Choice(["usual", "mimetic"]),
    help="What weights begin with: timm's, or attention that mixes neighbours.  [default: usual]",
)
@recipe_options(TRAINING)
@run_options
def train(
    variant: str,
    image_folder: Path,
    output: Path | None,
    validation: str,
    cache_mb: int,
    resume: bool,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a new model of a published shape on a folder with one subfolder per class.

    VARIANT is a model as timm calls it, such as vit_tiny_patch16_224; the options of its shape say
    what is to be otherwise. After each epoch all is kept that is needed to go on.
    """
    recipe = recipe_of(TRAINING, given)
    shape = {name: value for name, value in given.items() if value is not None}
    if shape.get("pool") not in (None, "token"):
        shape.setdefault("class_token", False)

    def begin(pictures: LabelledPictures, chosen: Recipe) -> Beginning:
        from vit_convert.training.start import fresh

        return fresh(variant, pictures, chosen, shape)

    target = output or Path(f"{variant.partition('.')[0]}_trained.h5")
    run(Run(image_folder, target, validation, cache_mb, resume, force, as_json), recipe, begin)
