"""What tensors tell in every architecture: depth, shapes, the grid of patches."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vit_convert.architectures.parameters import Shape
from vit_convert.errors import RecognitionError, UsageError


def depth_of(shapes: Mapping[str, Shape], prefix: str) -> int:
    """Number of consecutive blocks `prefix.0`, `prefix.1`, ...

    Raises:
        RecognitionError: there are none, or one between the first and the last is missing.
    """
    indices = {
        int(name.split(".")[1])
        for name in shapes
        if name.startswith(f"{prefix}.") and name.split(".")[1].isdigit()
    }
    if not indices:
        raise RecognitionError(
            f"no blocks found: nothing is named {prefix}.0.*",
            expected=f"{prefix}.0, {prefix}.1, ...",
        )
    if missing := set(range(max(indices) + 1)) - indices:
        raise RecognitionError(
            f"blocks are missing: {', '.join(f'{prefix}.{i}' for i in sorted(missing))}",
            expected=f"{prefix}.0 to {prefix}.{max(indices)}",
            hint="a checkpoint that holds the whole model",
        )
    return len(indices)


def shape_of(shapes: Mapping[str, Shape], name: str, rank: int) -> Shape:
    """The shape of a tensor that must be there, with that rank.

    Raises:
        RecognitionError: it is missing or has another rank.
    """
    shape = shapes.get(name)
    if shape is None:
        raise RecognitionError(f"{name} is missing", expected=f"a tensor of rank {rank}")
    if len(shape) != rank or 0 in shape:
        raise RecognitionError(
            "unexpected shape", where=f"{name} {shape}", expected=f"a tensor of rank {rank}"
        )
    return shape


def source_image_size(
    patches: int, patch_size: tuple[int, int], wanted: tuple[int, int] | None
) -> tuple[int, int]:
    """The image size that a position embedding for so many patches was trained at.

    A square number of patches is a square picture; otherwise the size that the user states tells.

    Raises:
        RecognitionError: the number is no square and the stated size does not have as many patches.
    """
    side = math.isqrt(patches)
    if side * side == patches:
        return side * patch_size[0], side * patch_size[1]
    if wanted and (wanted[0] // patch_size[0]) * (wanted[1] // patch_size[1]) == patches:
        return wanted
    raise RecognitionError(
        f"the position embedding has {patches} patches, which is no square number",
        where="pos_embed",
        expected="a square grid, or the picture's size stated",
        hint="--image-size HEIGHTxWIDTH as the model was trained",
    )


def check_image_size(size: tuple[int, int], patch_size: tuple[int, int]) -> None:
    """Raises UsageError unless each side is a multiple of the patch's."""
    if any(s <= 0 or s % p for s, p in zip(size, patch_size, strict=True)):
        raise UsageError(
            f"the image size {size[0]}x{size[1]} is no multiple of the patch size",
            expected=f"multiples of {patch_size[0]}x{patch_size[1]}",
            hint=f"--image-size {max(1, round(size[0] / patch_size[0])) * patch_size[0]}"
            f"x{max(1, round(size[1] / patch_size[1])) * patch_size[1]}",
        )
