"""The options that `train` and `finetune` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from vit_convert.cli import options
from vit_convert.errors import option_of
from vit_convert.training.recipe import FROM_SCRATCH, Recipe

_HELP: dict[str, tuple[Any, str]] = {
    "epochs": (click.IntRange(1), "Passes over the pictures."),
    "head_epochs": (click.IntRange(0), "Of them, the first, in which the head alone is trained."),
    "batch_size": (click.IntRange(1), "Pictures in a step."),
    "optimizer": (
        click.Choice(["adamw", "muon"]),
        "AdamW, or Muon for the matrices of the blocks.",
    ),
    "learning_rate": (float, "The highest learning rate."),
    "head_learning_rate": (float, "The highest one while the head alone is trained."),
    "min_learning_rate": (float, "The last one."),
    "warmup_epochs": (float, "Epochs in which the learning rate grows."),
    "weight_decay": (float, "AdamW's; not of norms, biases, tokens and positions."),
    "layer_decay": (float, "Factor of the learning rate from each block to the one below."),
    "clip_norm": (float, "The largest norm of the gradients; 0 for no limit."),
    "label_smoothing": (float, "Share of a picture's target that all classes have."),
    "drop_path": (float, "Rate of stochastic depth in the last block."),
    "patch_dropout": (float, "Share of each picture's patches that is left out."),
    "whole_epochs": (click.IntRange(0), "The last epochs, in which all patches are seen."),
    "ema": (float, "Decay of the moving average of the weights, which is kept; 0 for none."),
    "crop": (
        click.Choice(["auto", "resized", "padded"]),
        "Random parts that are resized, or small shifts.",
    ),
    "crop_scale": (float, "The smallest part of a picture's area that is resized."),
    "policy": (click.Choice(["none", "trivial", "rand"]), "TrivialAugment or RandAugment."),
    "rand_operations": (click.IntRange(1), "RandAugment's changes to each picture."),
    "rand_magnitude": (click.IntRange(0, 30), "RandAugment's strength."),
    "mixup": (float, "Alpha of mixup; 0 for none."),
    "cutmix": (float, "Alpha of CutMix; 0 for none."),
    "mix_probability": (float, "Share of the batches that are mixed."),
    "erasing": (float, "Probability of random erasing."),
    "freeze": (str, "Train all but this: backbone, blocks:N (the first N), or none."),
    "lora": (click.IntRange(0), "Rank of LoRA; 0 for none."),
    "devices": (click.IntRange(1), "GPUs, or parts of the CPU, that train together."),
    "seed": (click.IntRange(0), "Of weights, split, order and noise."),
}
_OPEN = {"whole_epochs": "a third"}  # defaults that follow from other options
_METAVARS = {"freeze": "backbone|blocks:N|none", "lora": "RANK"}


def recipe_options(defaults: Recipe) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives a command an option for each value of a recipe."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, (kind, text) in reversed(_HELP.items()):
            default = getattr(defaults, name)
            shown = f"{default:g}" if isinstance(default, float) else _OPEN.get(name, default)
            command = click.option(
                option_of(name),
                type=kind,
                metavar=_METAVARS.get(name),
                help=f"{text}  [default: {shown}]",
            )(command)
        compiled = "xla" if defaults.xla else "no-xla"
        flags = (
            click.option("--flip/--no-flip", default=None, help="Flip pictures.  [default: flip]"),
            click.option(
                "--mixed-precision/--no-mixed-precision",
                default=None,
                help="Compute in bfloat16.  [default: no]",
            ),
            click.option(
                "--xla/--no-xla",
                default=None,
                help="Compile the steps by XLA: a minute lost, and faster from then on."
                f"  [default: {compiled}]",
            ),
        )
        for flag in flags:
            command = flag(command)
        return command

    return decorate


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a run that are no part of its recipe."""
    for option in reversed(
        (
            click.option(
                "-o",
                "output",
                type=options.PATH,
                help="The .h5 to write; OUT_training/ is written beside it.",
            ),
            click.option(
                "--validation",
                metavar="DIR|FRACTION",
                default="0.1",
                show_default=True,
                help="Pictures to validate on: a folder, or a share of each class; 0 for none.",
            ),
            click.option(
                "--cache",
                "cache_mb",
                type=click.IntRange(0),
                default=2000,
                show_default=True,
                metavar="MB",
                help="Memory for decoded pictures.",
            ),
            click.option("--resume", is_flag=True, help="Go on where this command was stopped."),
            options.force,
            options.as_json,
        )
    ):
        command = option(command)
    return command


def recipe_of(defaults: Recipe, given: dict[str, Any]) -> Recipe:
    """The recipe that the options make; they are taken out of `given`."""
    names = [item.name for item in fields(Recipe) if item.name in given]
    return defaults.but({name: given.pop(name) for name in names})


FINETUNING, TRAINING = Recipe(), FROM_SCRATCH
