"""Relative position bias of BEiT (Bao et al. 2021, arXiv:2106.08254, as in timm's Beit): what is
added to an attention score depends on how far apart the two patches are, per row and per column;
the class token has three entries of its own, at the end of the table."""

from __future__ import annotations

import math

import numpy as np

from vit_convert.errors import RecognitionError

_CLASS_ENTRIES = 3  # from the class token, to the class token, from it to itself


def num_relative_distances(grid: tuple[int, int]) -> int:
    """Rows of the table for a grid of (rows, columns) patches and a class token."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + _CLASS_ENTRIES


def grid_patches(length: int, wanted: tuple[int, int] | None) -> int:
    """Patches of the grid that a table of so many rows is for.

    Args:
        length: rows of the table.
        wanted: the grid that the user states, taken if it fits.

    Raises:
        RecognitionError: it is the table of no square grid.
    """
    if wanted and num_relative_distances(wanted) == length:
        return wanted[0] * wanted[1]
    side = (math.isqrt(max(length - _CLASS_ENTRIES, 0)) + 1) // 2
    if num_relative_distances((side, side)) != length:
        raise RecognitionError(
            f"a relative position bias of {length} distances is that of no square grid",
            where="relative_position_bias_table",
            expected="(2 * side - 1) ** 2 + 3 distances, or the picture's size stated",
            hint="--image-size HEIGHTxWIDTH as the model was trained",
        )
    return side * side


def relative_position_index(grid: tuple[int, int]) -> np.ndarray:
    """Row of the table for each pair of tokens.

    Returns:
        (n, n) int32, n = 1 + rows * columns: from the first axis's token to the second's.
    """
    rows, columns = grid
    last = num_relative_distances(grid)
    row, column = (axis.reshape(-1) for axis in np.indices(grid))
    down = row[:, None] - row[None, :] + rows - 1
    right = column[:, None] - column[None, :] + columns - 1
    index = np.empty((1 + rows * columns, 1 + rows * columns), np.int32)
    index[1:, 1:] = down * (2 * columns - 1) + right
    index[0, :] = last - 3
    index[:, 0] = last - 2
    index[0, 0] = last - 1
    return index
