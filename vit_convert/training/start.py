"""The model that a training begins with: a converted one, with a head for the classes, or a new
one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vit_convert.architectures import ModelSpec
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import UsageError
from vit_convert.exporters.keras_h5 import load_model
from vit_convert.training.folders import LabelledPictures
from vit_convert.training.recipe import Recipe

Head = Literal["auto", "keep", "new"]


@dataclass(frozen=True)
class Beginning:
    """A model to train, and what its classes are.

    Attributes:
        model: the Keras model.
        classes: names of its classes, in the order of its head.
        digest: of what it was made of.
        notes: what the user should know of it.
    """

    model: Any
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()


def check_model(path: Path) -> ModelSpec:
    """What a model to fine-tune is, without opening its weights.

    Raises:
        ArtifactError: the file is no .h5 that can be trained on.
        UsageError: it does not take pictures in RGB.
    """
    with open_keras(path) as (spec, _):
        if spec.input().kind != "images":
            raise UsageError(
                f"takes {spec.input().name} of texts, and no pictures",
                where=str(path),
                expected="a model of pictures",
            )
        _check_channels(spec, str(path))
        return spec


def converted(
    path: Path,
    pictures: LabelledPictures,
    recipe: Recipe,
    *,
    image_size: tuple[int, int] | None = None,
    head: Head = "auto",
) -> Beginning:
    """A converted model to fine-tune.

    Its own head is kept where the classes are its own, by name; else it gets a new one.

    Args:
        path: the .h5.
        pictures: to train on, whose classes are wanted.
        recipe: of the training.
        image_size: (height, width) that its positions are resampled to.
        head: "keep" refuses other classes; "new" starts the head anew whatever they are.

    Raises:
        UsageError: the head is to be kept, and the classes are not the model's; or the model cannot
            have that size.
    """
    spec = check_model(path)
    own = set(spec.labels) == set(pictures.classes) and len(spec.labels) == len(pictures.classes)
    if head == "keep" and not own:
        raise UsageError(
            f"the folder's classes are not the model's: {_compared(spec, pictures)}",
            where="--head keep",
            expected=f"the {spec.config.num_classes} classes of the model, by name",
            hint="--head new, which starts a head for the folder's classes",
        )
    options: dict[str, Any] = {}
    classes = pictures.classes
    notes: list[str] = []
    if own and head != "new":
        classes = spec.labels
        notes.append(f"the {len(classes)} classes are the model's own; its head is trained on")
    else:
        options = {"num_classes": len(classes), "labels": classes}
        notes.append(f"a new head of {len(classes)} classes; {_compared(spec, pictures)}")
    if image_size and image_size != spec.config.image_size:
        options["image_size"] = image_size
        height, width = spec.config.image_size
        notes.append(
            f"positions resampled from {height}x{width} to {image_size[0]}x{image_size[1]}"
        )
    model = load_model(path, _policy(recipe), seed=recipe.seed, **options, **_noise(recipe))
    _check_patches(model.spec, recipe)
    if recipe.lora:
        model.enable_lora(recipe.lora, seed=recipe.seed)
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps([list(classes), image_size, head]).encode())
    return Beginning(model, tuple(classes), digest.hexdigest(), tuple(notes))


def fresh(
    variant: str, pictures: LabelledPictures, recipe: Recipe, options: Mapping[str, Any]
) -> Beginning:
    """A new model.

    Args:
        variant: the name of a published model.
        pictures: to train on.
        recipe: of the training.
        options: what is otherwise than published; see `vit_convert.models.creation.create_model`.

    Raises:
        UsageError, RecognitionError: there is no such model, or the options do not fit it.
    """
    from vit_convert.models.creation import create_model

    model = create_model(
        variant,
        labels=pictures.classes,
        seed=recipe.seed,
        dtype=_policy(recipe),
        **options,
        **_noise(recipe),
    )
    _check_channels(model.spec, variant)
    _check_patches(model.spec, recipe)
    if recipe.lora:
        model.enable_lora(recipe.lora, seed=recipe.seed)
    told = [model.spec.to_dict(), options.get("init")]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    return Beginning(model, pictures.classes, digest.hexdigest())


def _policy(recipe: Recipe) -> str:
    return "mixed_bfloat16" if recipe.mixed_precision else "float32"


def _noise(recipe: Recipe) -> dict[str, Any]:
    # no dropout beside stochastic depth, as in DeiT's main.py (--drop 0, --drop-path 0.1)
    return {"drop_rate": 0.0, "attn_drop_rate": 0.0, "drop_path_rate": recipe.drop_path}


def _check_channels(spec: ModelSpec, where: str) -> None:
    if spec.config.in_channels != 3:
        raise UsageError(
            f"takes images of {spec.config.in_channels} channels, and pictures have 3",
            where=where,
            expected="a model of RGB",
        )


def _check_patches(spec: ModelSpec, recipe: Recipe) -> None:
    positions = [n for n in ("rotary", "rel_pos") if getattr(spec.config, n, "none") != "none"]
    if recipe.patch_dropout and positions:
        raise UsageError(
            f"this model's attention knows the place of each patch ({positions[0]}), and cannot do "
            "without some of them",
            where="--patch-dropout",
            expected="0 for this model",
        )


def _compared(spec: ModelSpec, pictures: LabelledPictures) -> str:
    """How a folder's classes compare with a model's, for people."""
    count = spec.config.num_classes
    if not count:
        return "the model has none"
    if not spec.labels:
        return f"the model has {count} without names"
    unknown = [name for name in pictures.classes if name not in spec.labels]
    if unknown:
        return f"the model's {count} do not have {unknown[0]!r}"
    return f"the model has {count}, and the folder {len(pictures.classes)} of them"
