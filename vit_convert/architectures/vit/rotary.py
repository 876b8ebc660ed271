"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) over a grid of patches.

In each head, pairs of channels of q and k are turned by angles that grow with the patch's place:
half of the pairs with its row, half with its column, at frequencies base ** (-i / pairs per axis).
What scores then see of two patches' places is how far apart they are. Tokens that are no patches
are not turned.

- "eva02" (Fang et al. 2023, arXiv:2303.11331; timm's RotaryEmbeddingCat): pairs are neighbouring
  channels, rows come first; places are counted in patches of the grid of pre-training, whatever
  the grid is.
- "dinov3" (Simeoni et al. 2025, arXiv:2508.10104; transformers' DINOv3ViTRopePositionEmbedding):
  pairs are channel i of a head's first half and channel i of its second, rows come first; places
  are the patches' centres, -1 and 1 being the picture's edges, in full turns.
- "axial" (Heo et al. 2024, arXiv:2403.13298; naver-ai/rope-vit's `rope_axial`): pairs are
  neighbouring channels, columns come first; places are the patches' indices.
- "pe" (Bolya et al. 2025, arXiv:2504.13181; facebookresearch/perception_models,
  core/vision_encoder/rope.py): as "eva02", but columns come first, and places count from 1 where a
  class token stands before the patches.
- "mixed" (Heo et al. 2024, naver-ai/rope-vit's `rope_mixed`; timm's RotaryEmbeddingMixed): as
  "axial", but each pair of each head of each block has two learned frequencies, one for the column
  and one for the row, and turns by the sum of both angles.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from vit_convert.architectures.base import Rotary

KINDS: tuple[Rotary, ...] = get_args(Rotary)

PUBLISHED_BASES: dict[Rotary, float] = {
    "eva02": 10000.0,
    "dinov3": 100.0,
    "axial": 100.0,
    "pe": 10000.0,
}
PUBLISHED_GRID = (16, 16)  # EVA-02's, pre-trained on 224 pixels in patches of 14


def rotary_tables(
    kind: Rotary,
    grid: tuple[int, int],
    head_dim: int,
    base: float,
    reference_grid: tuple[int, int],
    prefix: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and signed sines of the angles, for pairs that are a head's two halves:
    x * cosines + (x with its halves swapped) * sines is x turned.

    Args:
        kind: any but "mixed".
        grid: patches per column and per row.
        head_dim: channels of a head, a multiple of 4.
        base: of the frequencies.
        reference_grid: the grid of pre-training, for "eva02" and "pe".
        prefix: tokens before the patches, which are not turned.

    Returns:
        twice (prefix + patches, head_dim) float32.
    """
    bands = base ** (-np.arange(head_dim // 4) / (head_dim // 4))

    def places(count: int, reference: int) -> np.ndarray:
        index = np.arange(count)
        if kind == "dinov3":
            return 2 * np.pi * (2 * (index + 0.5) / count - 1)
        if kind == "axial":
            return index
        return (index + int(kind == "pe" and prefix > 0)) * (reference / count)

    axes = [places(*sizes) for sizes in zip(grid, reference_grid, strict=True)]
    rows, columns = (axis.reshape(-1, 1) for axis in np.meshgrid(*axes, indexing="ij"))
    order = (columns, rows) if kind in ("axial", "pe") else (rows, columns)
    angles = np.concatenate([axis * bands for axis in order], axis=1)
    cosines, sines = _tables(angles, prefix)
    return cosines.astype(np.float32), sines.astype(np.float32)


def mixed_tables(
    frequencies: np.ndarray, grid: tuple[int, int], prefix: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `rotary_tables`, of the learned frequencies of one block.

    Args:
        frequencies: (2, heads, head_dim / 2), of the columns and of the rows.
        grid: patches per column and per row.
        prefix: tokens before the patches, which are not turned.

    Returns:
        twice (heads, prefix + patches, head_dim).
    """
    rows, columns = (axis.reshape(-1, 1) for axis in np.indices(grid))
    return _tables(columns * frequencies[0][:, None] + rows * frequencies[1][:, None], prefix)


def turns_neighbours(kind: Rotary) -> bool:
    """Whether the pairs of channels that are turned are neighbours, and not a head's halves."""
    return kind not in ("none", "dinov3")


def _tables(angles: np.ndarray, prefix: int) -> tuple[np.ndarray, np.ndarray]:
    """(..., patches, pairs) -> twice (..., prefix + patches, 2 pairs), with angles of 0 before."""
    none = np.zeros((*angles.shape[:-2], prefix, angles.shape[-1]))
    angles = np.concatenate([none, angles], axis=-2)
    cosines, sines = np.cos(angles), np.sin(angles)
    return (
        np.concatenate([cosines, cosines], axis=-1),
        np.concatenate([-sines, sines], axis=-1),
    )


def neighbours_to_halves(head_dim: int) -> np.ndarray:
    """Order of a head's channels in which pairs of neighbours become its two halves: the even ones,
    then the odd ones. Scores stay as they are where q and k are both put into it."""
    return np.arange(head_dim).reshape(-1, 2).T.reshape(-1)
