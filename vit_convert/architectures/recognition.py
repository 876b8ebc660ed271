"""What tensors tell in every architecture: depth, shapes, the grid of patches."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from vit_convert.architectures.parameters import Shape
from vit_convert.errors import RecognitionError, UsageError
from vit_convert.runtime.limits import BLOCKS


def depth_of(shapes: Mapping[str, Shape], prefix: str) -> int:
    """Number of consecutive blocks `prefix.0`, `prefix.1`, ...

    Raises:
        RecognitionError: there are none, or one between the first and the last is missing.
    """
    index = re.compile(rf"{re.escape(prefix)}\.([0-9]{{1,5}})\.")
    indices = {int(match[1]) for name in shapes if (match := index.match(name))}
    if not indices:
        raise RecognitionError(
            f"no blocks found: nothing is named {prefix}.0.*",
            expected=f"{prefix}.0, {prefix}.1, ...",
        )
    BLOCKS.check(len(indices), error=RecognitionError)
    if missing := sorted(set(range(max(indices) + 1)) - indices):
        more = f", ... ({len(missing)} in all)" if missing[20:] else ""
        raise RecognitionError(
            f"blocks are missing: {', '.join(f'{prefix}.{i}' for i in missing[:20])}{more}",
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

    A square number of patches is a square grid; otherwise the size that the user states tells. The
    stated size need not be a multiple of the patch's: SigLIP so400m sees 27 x 27 patches of 14
    in 384 pixels. Where none is stated that has this grid, it is the smallest that has.

    Raises:
        RecognitionError: the number is no square and the stated size does not have as many patches.
    """
    grid = (wanted[0] // patch_size[0], wanted[1] // patch_size[1]) if wanted else (0, 0)
    side = math.isqrt(patches)
    square = side * side == patches
    if wanted and (grid == (side, side) if square else grid[0] * grid[1] == patches):
        return wanted
    if square:
        return side * patch_size[0], side * patch_size[1]
    raise RecognitionError(
        f"the position embedding has {patches} patches, which is no square number",
        where="pos_embed",
        expected="a square grid, or the picture's size stated",
        hint="--image-size HEIGHTxWIDTH as the model was trained",
    )


def check_image_size(size: tuple[int, int], patch_size: tuple[int, int]) -> None:
    """Raises UsageError unless there is a whole patch in each direction."""
    if any(s < p for s, p in zip(size, patch_size, strict=True)):
        raise UsageError(
            f"the image size {size[0]}x{size[1]} is smaller than a patch",
            expected=f"{patch_size[0]}x{patch_size[1]} or more",
        )
