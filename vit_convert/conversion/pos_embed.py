"""Position embeddings for another number of patches, equal to what PyTorch computes.

All methods are separable: one small matrix of weights per axis, (new length, old length), its rows
summing to 1. All place sample i of a row of n at (i + 0.5) / n (`align_corners=False`). The cubic
ones weigh old samples by the cubic convolution kernel of R. G. Keys, "Cubic convolution
interpolation for digital image processing" (IEEE Transactions on Acoustics, Speech and Signal
Processing, 1981), extended to a free parameter a, the slope at distance 1; DPT's ViT is resampled
linearly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vit_convert.architectures.base import Resampling
from vit_convert.architectures.dense.resizing import bilinear_weights
from vit_convert.errors import UsageError

Grid = tuple[int, int]

_REACH = 2  # the kernel is zero from this distance on


def resample_pos_embed(
    pos_embed: np.ndarray,
    old_grid: Grid,
    new_grid: Grid,
    num_prefix_tokens: int = 1,
    method: Resampling = "antialias",
) -> np.ndarray:
    """Fit a learned position embedding to another grid of patches.

    Args:
        pos_embed: (1, prefix + old_h * old_w, channels), floating point, the patches row by row.
        old_grid, new_grid: patches per column and per row, (h, w).
        num_prefix_tokens: leading tokens that are no patches (class, distillation, register).
        method: "antialias" is `timm.layers.resample_abs_pos_embed`, which is PyTorch's
            `interpolate(mode="bicubic", antialias=True, align_corners=False)`; "bicubic" is the
            same without antialiasing; "bilinear" weighs the two nearest samples.

    Returns:
        (1, prefix + new_h * new_w, channels) in the dtype of `pos_embed`, computed in float64
        (PyTorch's float32 rounds positions, which costs it up to 4e-6 of the largest value).
        Prefix tokens are kept bit for bit; for the same grid it is `pos_embed` itself.

    Raises:
        UsageError: the array does not hold that grid, or an argument is out of range.
    """
    _check(pos_embed, old_grid, new_grid, num_prefix_tokens)
    if method not in _WEIGHTS:
        raise UsageError(
            f"unknown way to resample position embeddings: {method!r}",
            where="pos_embed",
            expected=" or ".join(_WEIGHTS),
        )
    if tuple(old_grid) == tuple(new_grid):
        return pos_embed
    channels = pos_embed.shape[2]
    prefix, patches = np.split(pos_embed, [num_prefix_tokens], axis=1)
    rows, columns = (
        _WEIGHTS[method](old, new) for old, new in zip(old_grid, new_grid, strict=True)
    )
    resampled = np.einsum(
        "ih,jw,hwc->ijc",
        rows,
        columns,
        patches.reshape(*old_grid, channels).astype(np.float64),
        optimize=True,
    )
    resampled = resampled.reshape(1, -1, channels).astype(pos_embed.dtype)
    return np.concatenate([prefix, resampled], axis=1)


def _check(pos_embed: np.ndarray, old_grid: Grid, new_grid: Grid, num_prefix_tokens: int) -> None:
    if min(*old_grid, *new_grid) < 1 or num_prefix_tokens < 0:
        raise UsageError(
            f"no grid of patches: {old_grid} to {new_grid} with {num_prefix_tokens} prefix tokens",
            where="pos_embed",
            expected="at least one patch per column and row, and no negative number of tokens",
        )
    tokens = num_prefix_tokens + old_grid[0] * old_grid[1]
    if pos_embed.ndim != 3 or pos_embed.shape[:2] != (1, tokens):
        raise UsageError(
            f"a position embedding of shape {pos_embed.shape} does not hold "
            f"{old_grid[0]} x {old_grid[1]} patches and {num_prefix_tokens} prefix tokens",
            where="pos_embed",
            expected=f"shape (1, {tokens}, channels)",
        )
    if not np.issubdtype(pos_embed.dtype, np.floating):
        raise UsageError(
            f"a position embedding of {pos_embed.dtype} cannot be interpolated",
            where="pos_embed",
            expected="floating point",
        )


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel: two cubics, for distances 0 to 1 and 1 to 2, zero beyond."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < _REACH, far, 0.0))


def _antialias_weights(old: int, new: int) -> np.ndarray:
    """(new, old). Keys' own a = -0.5; when shrinking, the kernel is stretched to cover all samples
    (Pillow's `Image.resize`, which PyTorch's `antialias=True` follows), and what falls outside is
    left out, the rest scaled to sum to 1."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.arange(old) + 0.5 - centres[:, None]
    weights = _cubic(distance / max(scale, 1.0), a=-0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _bicubic_weights(old: int, new: int) -> np.ndarray:
    """(new, old). PyTorch's a = -0.75, four samples whatever the scale; those beyond an edge are
    the sample at the edge."""
    positions = (np.arange(new) + 0.5) * (old / new) - 0.5
    weights = np.zeros((new, old))
    for step in range(1 - _REACH, 1 + _REACH):
        neighbour = np.floor(positions).astype(int) + step
        weights[np.arange(new), neighbour.clip(0, old - 1)] += _cubic(
            positions - neighbour, a=-0.75
        )
    return weights


def _bilinear_weights(old: int, new: int) -> np.ndarray:
    """(new, old). The two nearest samples, whatever the scale; that at an edge beyond it."""
    return bilinear_weights(old, new, align_corners=False)


_WEIGHTS: dict[Resampling, Callable[[int, int], np.ndarray]] = {
    "antialias": _antialias_weights,
    "bicubic": _bicubic_weights,
    "bilinear": _bilinear_weights,
}
