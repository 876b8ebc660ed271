"""vit-convert torch2keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vit_convert.cli import console, options


@click.command()
@click.argument("checkpoint", type=options.PATH)
@click.option("-o", "output", type=options.PATH, help="The .h5 to write.  [default: ./<name>.h5]")
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
    type=click.Choice(["antialias", "bicubic"]),
    help="How to resample it: as timm does, or as plain bicubic interpolation.  "
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
@options.force
def torch2keras(
    checkpoint: Path,
    output: Path | None,
    config: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """Convert a PyTorch checkpoint into a Keras .h5 file.

    Neither PyTorch nor TensorFlow is needed. What the file cannot say is recognised from published
    models or assumed, and said.
    """
    from vit_convert.architectures import architecture
    from vit_convert.conversion.assumptions import Assumptions, model_of
    from vit_convert.conversion.files import torch2keras as transfer
    from vit_convert.statements.option_file import Options, read_options

    stated = (read_options(config) if config else Options()).but(given)
    target = output or Path(f"{options.stem(checkpoint)}.h5")
    with console.progress(f"converting {checkpoint.name}") as progress, console.own_warnings():
        conversion = transfer(
            checkpoint,
            target,
            force=force,
            progress=progress,
            **stated.arguments(),
        )
    file = conversion.checkpoint
    if file.key:
        console.note(f"took the state dict under {file.key!r}")
    assumed = Assumptions.of(conversion.recognition)
    for line in assumed.warnings():
        console.warn(line)
    if conclusion := assumed.conclusion():
        console.note(conclusion)
    for name, reason in conversion.ledger.ignored_by_reason():
        console.note(f"ignored {name}: {reason}")
    title = architecture(conversion.spec.architecture).title
    model = model_of(conversion.recognition)
    console.out(f"{target}: {title}, {model}, {console.megabytes(target.stat().st_size)}")
