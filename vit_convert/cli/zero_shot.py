"""vit-convert zero-shot."""

from __future__ import annotations

from pathlib import Path

import click

from vit_convert.cli import console, options


@click.command("zero-shot")
@click.argument("checkpoint", type=options.PATH, metavar="CHECKPOINT")
@click.option(
    "--classes", type=options.PATH, metavar="FILE", help="Class names: one per line, or JSON."
)
@click.option("--class", "names", multiple=True, metavar="NAME", help="A class; repeatable.")
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help="A text with {} where a class belongs; of several, the embeddings are averaged.  "
    "[default: a photo of a {}.]",
)
@click.option(
    "--imagenet-templates", is_flag=True, help="Average over OpenAI's 80 templates for ImageNet."
)
@click.option("--key", metavar="NAME", help="Which nested state dict to take.")
@click.option(
    "-o",
    "output",
    type=options.PATH,
    metavar="FILE.h5",
    help="The .h5 to write.  [default: ./<name>_zero_shot.h5]",
)
@options.force
@options.as_json
def zero_shot(
    checkpoint: Path,
    classes: Path | None,
    names: tuple[str, ...],
    templates: tuple[str, ...],
    imagenet_templates: bool,
    key: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a classifier of CLIP or SigLIP and the names of its classes.

    CHECKPOINT is the folder that transformers or open_clip saved, with its tokenizer. What the text
    tower makes of the classes becomes the head of an ordinary .h5, which exports, predicts and
    verifies like any other. Neither PyTorch nor TensorFlow is needed; pip install
    "vit-convert[text]" brings the tokenizers.
    """
    from vit_convert.errors import UsageError
    from vit_convert.labels.names import read_labels
    from vit_convert.words import prompts
    from vit_convert.words.zero_shot import zero_shot as make

    if (classes is None) == (not names):
        raise UsageError(
            "both are given" if names else "no classes are given",
            where="--classes, --class",
            expected="--classes FILE, or --class NAME for each",
        )
    if templates and imagenet_templates:
        raise UsageError(
            "both are given", where="--template, --imagenet-templates", expected="one of them"
        )
    if imagenet_templates:
        templates = prompts.imagenet_templates()
    target = output or Path(f"{options.stem(checkpoint)}_zero_shot.h5")
    with (
        console.progress(f"zero-shot {checkpoint.name}") as progress,
        console.own_warnings(),
    ):
        made = make(
            checkpoint,
            names or read_labels(classes or Path()),
            target,
            templates=templates or (prompts.PHOTO,),
            key=key,
            force=force,
            progress=progress,
        )
    for line in made.warnings:
        console.warn(line.partition("; --")[0])  # an option of torch2keras
    if as_json:
        console.out_json(made.to_dict())
        return
    count, texts = len(made.classes), len(made.templates)
    words = f"{count} class{'es' if count > 1 else ''}"
    words += f" in {texts} template{'s' if texts > 1 else ''}"
    console.out(f"{target}: {words}, {console.megabytes(made.size)}")
