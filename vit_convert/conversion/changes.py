"""What the user wants otherwise than the checkpoint has it: another image size, another head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vit_convert.architectures import ModelSpec, Provenance
from vit_convert.architectures.creation import new_spec
from vit_convert.architectures.initialisation import initial_values
from vit_convert.architectures.options import TrainingOptions
from vit_convert.architectures.published import TRAINING
from vit_convert.architectures.recognition import check_image_size
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.errors import UsageError


def resize(spec: ModelSpec, weights: dict[str, LazyTensor], size: tuple[int, int]) -> ModelSpec:
    """Another image size, for which the position embedding is resampled, in place in `weights`.

    Raises:
        UsageError: there is no whole patch in it, or something else is tied to the grid.
    """
    from vit_convert.conversion.pos_embed import resample_pos_embed

    check_image_size(size, spec.config.patch_size)
    resized = spec.with_config(image_size=size)
    if resized.config.grid == spec.config.grid:
        return resized
    if tied := _tied_to_grid(spec) - {"pos_embed"}:
        raise UsageError(
            f"{min(tied)} cannot be resampled for another image size",
            where=f"--image-size {size[0]}x{size[1]}",
            expected=f"the {spec.config.image_size[0]}x{spec.config.image_size[1]} of the source",
        )
    array = weights["pos_embed"].read()
    prefix = array.shape[1] - spec.config.num_patches
    weights["pos_embed"] = LazyTensor.of(
        "pos_embed",
        resample_pos_embed(array, spec.config.grid, resized.config.grid, prefix, spec.pos_embed),
    )
    return _mark_changed(resized, "pos_embed")


def _tied_to_grid(spec: ModelSpec) -> set[str]:
    """The parameters whose shape depends on the grid of patches, found with a larger one."""
    height, width = spec.config.image_size
    larger = spec.with_config(image_size=(2 * height, 2 * width)).parameters()
    return {p.name for p in larger} - {
        p.name for p, other in zip(spec.parameters(), larger, strict=True) if p.shape == other.shape
    }


def fresh_head(
    spec: ModelSpec, weights: dict[str, LazyTensor], classes: int, seed: int = 0
) -> ModelSpec:
    """A head of another width, in `weights`, with the values that a new model's has; the class
    names are those of the old one, and are dropped.

    Raises:
        UsageError: `classes` is no number of classes.
    """
    if classes < 0:
        raise UsageError(f"{classes} classes", where="--num-classes", expected="0 or more")
    fresh = replace(spec.with_config(num_classes=classes), labels=(), head="classes")
    heads = [p.name for p in fresh.parameters() if p.name.startswith("head")]
    for name, values in initial_values(fresh, seed, heads.__contains__):
        weights[name] = LazyTensor.of(name, values)
    return _mark_changed(fresh, *heads)


def adapted(
    spec: ModelSpec,
    tensors: Tensors,
    *,
    num_classes: int | None,
    labels: Sequence[str],
    image_size: int | tuple[int, int] | None,
    seed: int,
    dropout: TrainingOptions,
) -> tuple[ModelSpec, dict[str, LazyTensor]]:
    """A model to be trained on: what it is then, and its weights.

    Args:
        spec, tensors: the model as it is.
        num_classes: of a fresh head; by default as many as labels, or the head that there is.
        labels: names of the classes of a fresh head.
        image_size: another one.
        seed: of the fresh head.
        dropout: training options of the configuration.

    Raises:
        UsageError: the model cannot have them.
    """
    weights = dict(tensors)
    if num_classes is None and not labels and image_size is None and not dropout:
        return spec, weights
    given: dict[str, Any] = dict(dropout)
    if unknown := set(dropout) - set(TRAINING):
        raise UsageError(
            f"there is no option {min(unknown)!r} of a model that has its weights",
            where=min(unknown),
            expected=", ".join((*TRAINING, "num_classes", "labels", "image_size", "seed")),
        )
    if image_size is not None:
        given["image_size"] = image_size
    if num_classes is not None or labels:
        given["num_classes"] = len(labels) if num_classes is None else num_classes
    wanted = new_spec(spec.config, given, labels).config
    if wanted.image_size != spec.config.image_size:
        spec = stated(resize(spec, weights, wanted.image_size), "image_size")
    if "num_classes" in given:
        spec = stated(fresh_head(spec, weights, wanted.num_classes, seed), "num_classes")
        spec = replace(spec, labels=tuple(labels))
    return spec.with_config(**dropout), weights


def stated(spec: ModelSpec, name: str) -> ModelSpec:
    """The spec, in which a value is known from the user's option."""
    provenance: dict[str, Provenance] = {**spec.source.provenance, name: "given"}
    return replace(spec, source=replace(spec.source, provenance=provenance))


def _mark_changed(spec: ModelSpec, *names: str) -> ModelSpec:
    dtypes = {k: v for k, v in spec.source.dtypes.items() if k not in names}
    changed = (*spec.source.changed, *names)
    return replace(spec, source=replace(spec.source, dtypes=dtypes, changed=changed))
