"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) over a grid of patches.

In each head, pairs of channels of q and k are turned by angles that grow with the patch's row (the
first half of the pairs) or column (the second half), at frequencies base ** (-i / pairs per axis).
What scores then see of two patches' places is how far apart they are. Tokens that are no patches
are not turned.

- "eva02" (Fang et al. 2023, arXiv:2303.11331; timm's RotaryEmbeddingCat): pairs are neighbouring
  channels; places are counted in patches of the grid of pre-training, whatever the grid is.
- "dinov3" (Simeoni et al. 2025, arXiv:2508.10104; transformers' DINOv3ViTRopePositionEmbedding):
  pairs are channel i of a head's first half and channel i of its second; places are the patches'
  centres, -1 and 1 being the picture's edges, in full turns.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from vit_convert.architectures.base import Rotary

KINDS: tuple[Rotary, ...] = get_args(Rotary)

PUBLISHED_BASES: dict[Rotary, float] = {"eva02": 10000.0, "dinov3": 100.0}
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
        kind: "eva02" or "dinov3".
        grid: patches per column and per row.
        head_dim: channels of a head, a multiple of 4.
        base: of the frequencies.
        reference_grid: the grid of pre-training, for "eva02".
        prefix: tokens before the patches, which are not turned.

    Returns:
        twice (prefix + patches, head_dim) float32.
    """
    bands = base ** (-np.arange(head_dim // 4) / (head_dim // 4))
    places = [
        np.arange(count) * (reference / count)
        if kind == "eva02"
        else 2 * np.pi * (2 * (np.arange(count) + 0.5) / count - 1)
        for count, reference in zip(grid, reference_grid, strict=True)
    ]
    rows, columns = (axis.reshape(-1, 1) for axis in np.meshgrid(*places, indexing="ij"))
    angles = np.concatenate([rows * bands, columns * bands], axis=1)
    angles = np.concatenate([np.zeros((prefix, head_dim // 2)), angles])
    cosines, sines = np.cos(angles), np.sin(angles)
    both = np.concatenate([cosines, cosines], axis=1), np.concatenate([-sines, sines], axis=1)
    return both[0].astype(np.float32), both[1].astype(np.float32)


def neighbours_to_halves(head_dim: int) -> np.ndarray:
    """Order of a head's channels in which pairs of neighbours become its two halves: the even ones,
    then the odd ones. Scores stay as they are where q and k are both put into it."""
    return np.arange(head_dim).reshape(-1, 2).T.reshape(-1)
