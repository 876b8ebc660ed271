"""The changes that rules make to arrays besides renaming: joins, splits, transposes, each with its
inverse.

Nothing is reshaped to fit: a transform states which shapes it takes and raises `MisfitError` for
all others, before anything is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vit_convert.architectures import Shape

Arrays = Sequence[np.ndarray]
Shapes = Sequence[Shape]


class MisfitError(Exception):
    """Shapes or values that a transform does not take; the message says why."""


@dataclass(frozen=True)
class Transform:
    """A reversible function from the arrays of a rule's sources to those of its targets.

    Attributes:
        name: for people and for rule files.
        sources, targets: how many of each there are.
        shapes: source shapes -> target shapes. Raises MisfitError for those that it does not take.
        forward: source arrays -> target arrays.
        backward: target arrays, number of attention heads -> source arrays. Raises MisfitError for
            arrays that no sources give.
        heads: source shapes -> the number of attention heads, where they tell it.
        with_rotary: what stands for it where a model with rotary position embedding is written.
    """

    name: str
    sources: int
    targets: int
    shapes: Callable[[Shapes], Shapes]
    forward: Callable[[Arrays], Arrays]
    backward: Callable[[Arrays, int], Arrays]
    heads: Callable[[Shapes], int] | None = None
    with_rotary: Transform | None = None


def ranked(shapes: Shapes, rank: int) -> Shapes:
    """The shapes, if all have that rank; raises MisfitError."""
    for shape in shapes:
        if len(shape) != rank:
            raise MisfitError(f"has shape {shape}, expected {rank} axes")
    return shapes


def alike(shapes: Shapes) -> Shape:
    """The shape that all have; raises MisfitError."""
    if len(set(shapes)) != 1:
        raise MisfitError(f"its parts have the shapes {', '.join(map(str, shapes))}, not one")
    return shapes[0]


SAME = Transform(
    "same",
    1,
    1,
    shapes=lambda shapes: shapes,
    forward=lambda arrays: arrays,
    backward=lambda arrays, heads: arrays,
)


# the weight of a convolution as it is, where a scheme may also keep a matrix
CONVOLUTION = Transform(
    "convolution",
    1,
    1,
    shapes=lambda shapes: ranked(shapes, 4),
    forward=lambda arrays: arrays,
    backward=lambda arrays, heads: arrays,
)


def joined(count: int) -> Transform:
    """`count` arrays of one shape, one after the other along the first axis: q, k, v to qkv."""

    def shapes(parts: Shapes) -> Shapes:
        first, *rest = alike(parts)
        return [(count * first, *rest)]

    def backward(arrays: Arrays, heads: int) -> Arrays:
        if len(arrays[0]) % count:
            raise MisfitError(f"cannot be cut into {count}: its shape is {arrays[0].shape}")
        return np.split(arrays[0], count)

    return Transform(
        f"joined {count}",
        count,
        1,
        shapes=shapes,
        forward=lambda arrays: [np.concatenate(arrays)],
        backward=backward,
    )


def _axes(name: str, axes: tuple[int, ...]) -> Transform:
    """The axes in another order; target axis i is source axis axes[i]."""
    back = tuple(int(axis) for axis in np.argsort(axes))

    def shapes(parts: Shapes) -> Shapes:
        (shape,) = ranked(parts, len(axes))
        return [tuple(shape[axis] for axis in axes)]

    return Transform(
        name,
        1,
        1,
        shapes=shapes,
        forward=lambda arrays: [arrays[0].transpose(axes)],
        backward=lambda arrays, heads: [arrays[0].transpose(back)],
    )


TRANSPOSED = _axes("transposed", (1, 0))  # (in, out) -> (out, in)
HWIO = _axes("hwio", (3, 2, 0, 1))  # (height, width, in, out) -> (out, in, height, width)


def with_axes(count: int) -> Transform:
    """The same with `count` axes of length 1 before the others: (dim,) -> (1, 1, dim)."""
    ones = (1,) * count

    def backward(arrays: Arrays, heads: int) -> Arrays:
        if arrays[0].shape[:count] != ones:
            raise MisfitError(f"has shape {arrays[0].shape}, expected {count} axes of length 1")
        return [arrays[0].reshape(arrays[0].shape[count:])]

    return Transform(
        f"{count} leading axes",
        1,
        1,
        shapes=lambda shapes: [(*ones, *shapes[0])],
        forward=lambda arrays: [arrays[0].reshape(*ones, *arrays[0].shape)],
        backward=backward,
    )


def _patch_sides(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width of the patches that a row of a matrix (dim, values) holds."""
    values = shape[1]
    side = math.isqrt(values // 3)
    if values != 3 * side * side:
        raise MisfitError(
            f"has shape {shape}: {values} values are no square patch of three channels; "
            "keep it as a convolution's weight (dim, channels, height, width)"
        )
    return 3, side, side


def _patch_matrix(name: str, axes: tuple[int, int, int]) -> Transform:
    """The weight of a linear layer over cut-out patches, (dim, values), to a convolution's.

    Args:
        name: of the transform.
        axes: where (channel, row, column) stand in the order of a patch's values.
    """

    def sides(shape: Shape) -> tuple[int, ...]:
        whole = _patch_sides(shape)
        return tuple(whole[axis] for axis in axes)

    place = (0, *(1 + axes.index(axis) for axis in range(3)))
    back = (0, *(1 + axis for axis in axes))
    return Transform(
        name,
        1,
        1,
        shapes=lambda shapes: [(shapes[0][0], *_patch_sides(ranked(shapes, 2)[0]))],
        forward=lambda arrays: [arrays[0].reshape(-1, *sides(arrays[0].shape)).transpose(place)],
        backward=lambda arrays, heads: [arrays[0].transpose(back).reshape(len(arrays[0]), -1)],
    )


# torch.nn.functional.unfold gives a patch's values in the order channel, row, column, which is that
# of a convolution's weight: the matrix (dim, channels * height * width) is that weight, flattened.
UNFOLDED_PATCHES = _patch_matrix("unfolded patches", (0, 1, 2))
# row, column, channel: how SigLIP 2's image processor cuts patches out
CUT_OUT_PATCHES = _patch_matrix("cut-out patches", (1, 2, 0))
