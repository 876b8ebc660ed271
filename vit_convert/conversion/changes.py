"""What the user wants otherwise than the checkpoint has it: another image size, another head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vit_convert.architectures import ModelSpec, Provenance
from vit_convert.architectures.recognition import check_image_size
from vit_convert.checkpoint.tensor import LazyTensor
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


def fresh_head(spec: ModelSpec, weights: dict[str, LazyTensor], classes: int) -> ModelSpec:
    """A head of another width, in `weights`: truncated normal of 0.02 within two deviations, and
    zeros."""
    if classes < 0:
        raise UsageError(f"{classes} classes", where="--num-classes", expected="0 or more")
    fresh = spec.with_config(num_classes=classes)
    rng = np.random.default_rng(0)
    heads = [p for p in fresh.parameters() if p.name.startswith("head")]
    for parameter in heads:
        scale = 0.02 if parameter.name.endswith(".weight") else 0.0
        values = scale * rng.standard_normal(parameter.shape).clip(-2, 2)
        weights[parameter.name] = LazyTensor.of(parameter.name, values.astype(np.float32))
    return _mark_changed(fresh, *(p.name for p in heads))


def stated(spec: ModelSpec, name: str) -> ModelSpec:
    """The spec, in which a value is known from the user's option."""
    provenance: dict[str, Provenance] = {**spec.source.provenance, name: "given"}
    return replace(spec, source=replace(spec.source, provenance=provenance))


def _mark_changed(spec: ModelSpec, *names: str) -> ModelSpec:
    dtypes = {k: v for k, v in spec.source.dtypes.items() if k not in names}
    changed = (*spec.source.changed, *names)
    return replace(spec, source=replace(spec.source, dtypes=dtypes, changed=changed))
