"""vit-convert finetune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import options
from vit_convert.cli.training_command import Run, run
from vit_convert.cli.training_options import FINETUNING, recipe_of, recipe_options, run_options

if TYPE_CHECKING:
    from vit_convert.training.folders import LabelledPictures
    from vit_convert.training.recipe import Recipe
    from vit_convert.training.start import Beginning, Head


@click.command()
@click.argument("model", type=options.PATH)
@click.argument("image_folder", type=options.PATH)
@click.option("--image-size", type=options.ImageSize(), help="Resample the position embedding.")
@click.option(
    "--head",
    type=click.Choice(["auto", "keep", "new"]),
    default="auto",
    show_default=True,
    help="Keep the model's head, or start a new one; auto: keep it where the classes are its own.",
)
@recipe_options(FINETUNING)
@run_options
def finetune(
    model: Path,
    image_folder: Path,
    image_size: tuple[int, int] | None,
    head: Head,
    output: Path | None,
    validation: str,
    cache_mb: int,
    resume: bool,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a converted model on: a folder with one subfolder per class.

    First the head alone is trained, for --head-epochs, and then all that is not frozen. After each
    epoch all is kept that is needed to go on.
    """
    from vit_convert.training.start import check_model

    recipe = recipe_of(FINETUNING, given)
    check_model(model)

    def begin(pictures: LabelledPictures, chosen: Recipe) -> Beginning:
        from vit_convert.training.start import converted

        return converted(model, pictures, chosen, image_size=image_size, head=head)

    target = output or Path(f"{model.stem}_finetuned.h5")
    run(Run(image_folder, target, validation, cache_mb, resume, force, as_json), recipe, begin)
