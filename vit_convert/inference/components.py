"""Tokens of patches as colours: their first three principal components, shared over pictures."""

from __future__ import annotations

import numpy as np

_COLOURS = 3
_OUTSIDE = 1.0  # percent of the patches at either end that have the darkest or brightest colour


def principal_colours(tokens: np.ndarray) -> np.ndarray:
    """The first three principal components of all patches of all pictures, as red, green and blue,
    as DINOv2's authors show them (Oquab et al. 2023, arXiv:2304.07193, figure 1; without their
    threshold, which leaves the background out).

    A component's sign has no meaning: the one is taken in which its largest weight is positive, so
    that the same tokens always have the same colours. Each component is stretched from its first to
    its last percentile over all pictures.

    Args:
        tokens: (pictures, rows, columns, dim).

    Returns:
        (pictures, rows, columns, 3) float32 in 0..1.
    """
    points = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    points = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(points.T @ points)  # the largest last
    axes = axes[:, ::-1][:, :_COLOURS]
    largest = np.abs(axes).argmax(axis=0)
    values = points @ (axes * np.sign(axes[largest, np.arange(axes.shape[1])]))
    low, high = np.percentile(values, [_OUTSIDE, 100 - _OUTSIDE], axis=0)
    spread = np.where(high > low, high - low, 1.0)
    scaled = np.where(high > low, (values - low) / spread, 0.5).clip(0, 1)
    return scaled.reshape(*tokens.shape[:-1], -1).astype(np.float32)
