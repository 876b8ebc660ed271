"""vit-convert torch2keras."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from vit_convert.cli import console, options


@click.command()
@click.argument("checkpoints", type=options.PATH, nargs=-1, required=True, metavar="CHECKPOINT...")
@click.option(
    "-o",
    "output",
    type=options.PATH,
    metavar="FILE.h5|DIR",
    help="The .h5 to write, or the folder for <name>.h5, which is made.  [default: ./<name>.h5]",
)
@click.option(
    "--config",
    type=options.PATH,
    metavar="FILE",
    help="Options from a TOML file; those given here count more.",
)
@click.option(
    "--variant", type=options.VARIANT, help="The published model it is, as timm calls it."
)
@click.option("--image-size", type=options.ImageSize(), help="Resample the position embedding.")
@click.option(
    "--pos-embed",
    type=click.Choice(["antialias", "bicubic", "bilinear"]),
    help="How to resample it: as timm does, or by plain bicubic or bilinear interpolation.  "
    "[default: as the source's authors do]",
)
@click.option("--num-heads", type=click.IntRange(1), help="Attention heads.")
@click.option(
    "--gelu",
    type=click.Choice(["erf", "tanh", "quick", "relu", "silu"]),
    help="The activation: GELU, exact or approximated, or ReLU or SiLU in its place.",
)
@click.option(
    "--norm-position",
    type=click.Choice(["pre", "post", "res-post"]),
    help="Norms before a block's branches, after the additions, or before the additions.",
)
@click.option(
    "--position",
    type=click.Choice(["all", "class", "patches"]),
    help="Which tokens the position embedding covers; class: all but the registers.",
)
@click.option(
    "--rotary",
    type=click.Choice(["none", "eva02", "dinov3", "axial", "mixed", "pe"]),
    help="The kind of rotary position embedding, which has no tensors unless it is mixed.",
)
@click.option(
    "--rotary-base",
    type=click.FloatRange(1, min_open=True),
    help="Base of its frequencies (theta).",
)
@click.option(
    "--rotary-grid",
    type=options.ImageSize(),
    help="The grid of pre-training of EVA-02 or the Perception Encoder, in patches.",
)
@click.option(
    "--pool",
    type=click.Choice(["token", "avg", "max", "avgmax", "map"]),
    help="What the head reads: the class token, or what of the patches.",
)
@click.option("--pool-heads", type=click.IntRange(1), help="Heads of attention pooling.")
@click.option(
    "--pool-prefix/--no-pool-prefix",
    default=None,
    help="Whether pooling takes the class and register tokens too.",
)
@click.option(
    "--norm",
    type=click.Choice(["layer", "rms"]),
    help="What norms without a bias are: LayerNorm or RMSNorm.",
)
@click.option("--norm-eps", type=click.FloatRange(0, min_open=True), help="Epsilon of the norms.")
@click.option(
    "--taps", type=options.Blocks(), help="The blocks that a head for depth reads, from 0 on."
)
@click.option(
    "--depth-activation",
    type=click.Choice(["relu", "sigmoid"]),
    help="Whether depth is relative (relu) or metric (sigmoid).",
)
@click.option(
    "--max-depth",
    type=click.FloatRange(0, min_open=True),
    help="The largest depth of a metric model, in metres.",
)
@click.option("--num-classes", type=click.IntRange(0), help="Start a fresh head of this width.")
@click.option("--dialect", type=options.DIALECT, help="The naming scheme it has.")
@options.rules
@click.option("--key", metavar="NAME", help="Which nested state dict to take.")
@click.option("--mean", type=options.Channels(), help="Mean of the channels, for pixels in 0..1.")
@click.option("--std", type=options.Channels(), help="Standard deviation of the channels.")
@click.option(
    "--interpolation", type=click.Choice(["bicubic", "bilinear"]), help="How pictures are resized."
)
@click.option(
    "--crop-pct", type=click.FloatRange(0, 1, min_open=True), help="Centre crop over resized side."
)
@click.option(
    "--crop-mode",
    type=click.Choice(["center", "squash"]),
    help="Whether pictures keep their proportions when they are resized.",
)
@click.option("--labels", type=options.PATH, help="Class names: one per line, or JSON.")
@options.tower
@options.jobs
@options.force
@options.as_json
def torch2keras(
    checkpoints: tuple[Path, ...],
    output: Path | None,
    config: Path | None,
    jobs: int | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert PyTorch checkpoints into Keras .h5 files.

    Neither PyTorch nor TensorFlow is needed. What a file cannot say is recognised from published
    models or assumed, and said.

    Of several checkpoints, each is converted in a process of its own with the same options; where
    one fails, the others are converted all the same. Exits with 2 then.
    """
    from vit_convert.cli.converting import convert_file, say, targets_in
    from vit_convert.cli.many import as_dicts, done_of_all, made_folder
    from vit_convert.errors import UsageError, VitConvertError
    from vit_convert.statements.option_file import Options, read_options

    stated = (read_options(config) if config else Options()).but(given)
    names_file = output is not None and output.suffix != "" and not output.is_dir()
    if output is not None and names_file:
        if len(checkpoints) > 1:
            raise UsageError(
                f"is the name of one file, and there are {len(checkpoints)} checkpoints",
                where=f"-o {output}",
                expected="a folder",
            )
        targets = {checkpoints[0]: output}
        folder = output.parent if output.parent.exists() else None
    else:
        folder = output or Path()
        targets = dict(targets_in(folder, checkpoints, ".h5"))
    if len(checkpoints) == 1:
        (checkpoint,), (target,) = checkpoints, targets.values()
        with (
            made_folder(folder) if folder else nullcontext(),
            console.progress(f"converting {checkpoint.name}") as progress,
        ):
            found = convert_file(checkpoint, target, stated, force, progress)
        say(found)
        if as_json:
            console.out_json(found.to_dict())
        else:
            size = console.megabytes(found.size or 0)
            console.out(f"{target}: {found.architecture}, {found.model}, {size}")
        return
    assert folder is not None
    at_a_time = options.at_a_time(jobs)
    with made_folder(folder), console.progress("checkpoints") as progress:
        stated.arguments()  # so that wrong options are said once
        tasks = [(source, target, stated, force) for source, target in targets.items()]
        results = done_of_all("converting", tasks, checkpoints, at_a_time, progress, say)
    failed = [result for result in results if isinstance(result, VitConvertError)]
    if as_json:
        models = as_dicts(checkpoints, results)
        console.out_json({"models": models, "failed": len(failed)})
    else:
        console.table(
            ("checkpoint", "model", "written", "size"),
            [_row(source, result) for source, result in zip(checkpoints, results, strict=True)],
            styles=["red" if result in failed else "" for result in results],
        )
    raise SystemExit(2 if failed else 0)


def _row(source: Path, result: Any) -> tuple[str, str, str, str]:
    """Of the table of several checkpoints."""
    from vit_convert.cli.many import failed_row
    from vit_convert.errors import VitConvertError

    if isinstance(result, VitConvertError):
        return failed_row(source, result)
    model = f"{result.architecture}, {result.model}"
    return str(source), model, str(result.path), console.megabytes(result.size)
