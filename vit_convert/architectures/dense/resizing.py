"""Bilinear resizing as matrices, equal to `torch.nn.functional.interpolate(mode="bilinear")`.

It is separable: one matrix (new length, old length) for each axis, with two numbers in a row.
"""

from __future__ import annotations

import numpy as np


def bilinear_weights(old: int, new: int, align_corners: bool) -> np.ndarray:
    """The matrix of one axis, (new, old), in float64.

    Args:
        old, new: samples before and after.
        align_corners: whether the first and the last sample stay where they are; otherwise sample i
            of n stands at (i + 0.5) / n, and beyond the edge is the sample at the edge.
    """
    if align_corners:
        positions = np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)
    else:
        positions = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, None)
    below = np.floor(positions).astype(int).clip(0, old - 1)
    above = (below + 1).clip(0, old - 1)
    weights = np.zeros((new, old))
    fraction = positions - below
    weights[np.arange(new), below] += 1 - fraction
    weights[np.arange(new), above] += fraction
    return weights
