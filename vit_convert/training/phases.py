"""The phases of a training: first the head alone, then all that is not frozen."""

from __future__ import annotations

from dataclasses import dataclass

from vit_convert.architectures import ModelSpec
from vit_convert.errors import UsageError
from vit_convert.models.fine_tuning import HEADS, frozen_layers
from vit_convert.training.recipe import Recipe
from vit_convert.training.schedule import CosineSchedule


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same parameters are trained.

    Attributes:
        name: "head" or "all".
        first, last: its epochs, from 0; `last` is not among them.
        trained: canonical names of its parameters; with LoRA, those of its heads.
        schedule: of the learning rate, over its steps.
        lora: whether LoRA's additions are trained, too.
        noisy: whether the model itself is random (stochastic depth): not where only the head is
            trained, whose input is then that of inference.
    """

    name: str
    first: int
    last: int
    trained: tuple[str, ...]
    schedule: CosineSchedule
    lora: bool
    noisy: bool


def phases_of(recipe: Recipe, spec: ModelSpec, steps_per_epoch: int) -> list[Phase]:
    """The phases of a training, without empty ones.

    Raises:
        UsageError: there are fewer blocks than are to be frozen.
    """
    names = tuple(parameter.name for parameter in spec.parameters())
    heads = tuple(name for name in names if name.partition(".")[0] in HEADS)
    rest = heads if recipe.lora else trained_names(recipe, spec)
    found = []
    if recipe.head_epochs:
        steps = recipe.head_epochs * steps_per_epoch
        schedule = CosineSchedule(recipe.head_learning_rate, recipe.min_learning_rate, steps, 0)
        found.append(Phase("head", 0, recipe.head_epochs, heads, schedule, False, False))
    if recipe.epochs > recipe.head_epochs:
        steps = (recipe.epochs - recipe.head_epochs) * steps_per_epoch
        warmup = min(round(recipe.warmup_epochs * steps_per_epoch), steps // 2)
        noisy = bool(recipe.lora) or set(rest) != set(heads)
        peak = recipe.learning_rate if noisy else recipe.head_learning_rate
        schedule = CosineSchedule(peak, recipe.min_learning_rate, steps, warmup)
        found.append(
            Phase(
                "all", recipe.head_epochs, recipe.epochs, rest, schedule, bool(recipe.lora), noisy
            )
        )
    return found


def trained_names(recipe: Recipe, spec: ModelSpec) -> tuple[str, ...]:
    """The canonical names of the parameters that `freeze` leaves to be trained.

    Raises:
        UsageError: there are fewer blocks than are to be frozen.
    """
    if recipe.freeze == "none":
        return tuple(parameter.name for parameter in spec.parameters())
    count, blocks = recipe.frozen_blocks(), len(spec.block_names()) - 1
    if count is not None and count > blocks:
        raise UsageError(
            f"there are {blocks} blocks in the model",
            where=f"--freeze {recipe.freeze}",
            expected=f"blocks:1 to blocks:{blocks}",
        )
    frozen = frozen_layers(spec, count)
    return tuple(p.name for p in spec.parameters() if p.layer not in frozen)
