"""Attention that begins as trained attention looks: Trockman and Kolter 2023, "Mimetic
Initialization of Self-Attention Layers", arXiv:2305.09828.

Queries meet keys of the same position, so that each patch looks at its neighbours at first, and
values go through the projection with the opposite sign. It helps where pictures are few.
"""

from __future__ import annotations

import zlib

import numpy as np

from vit_convert.architectures.model_spec import ModelSpec
from vit_convert.errors import UsageError

_LOOK = 0.7  # the paper's for queries and keys of ViT, of noise and of identity (section 4)
_MOVE = 0.4  # and for values and projection
_TEMPERATURE = 10_000.0


def mimetic_values(spec: ModelSpec, seed: int) -> dict[str, np.ndarray]:
    """Canonical names, and float32 arrays in PyTorch's layout, of positions and attention.

    Positions are sines and cosines, as in the paper, because learned ones near 0 tell nothing of
    neighbours (section 4).

    Args:
        spec: of the model.
        seed: 0 or more.

    Raises:
        UsageError: the model has no self-attention with queries, keys and values in one matrix, or
            no positions that are added to the patches.
    """
    config, shapes = spec.config, {p.name: p.shape for p in spec.parameters()}
    dim, heads = config.embed_dim, config.num_heads
    names = [name for name in shapes if name.endswith(".attn.qkv.weight")]
    if not names or "pos_embed" not in shapes or dim % 4:
        raise UsageError(
            "the model cannot begin with mimetic values",
            where="init",
            expected="positions that are added to the patches, a width in fours, and queries, keys "
            "and values in one matrix",
            hint="the usual values",
        )
    rows, columns = (s // p for s, p in zip(config.image_size, config.patch_size, strict=True))
    positions = np.zeros(shapes["pos_embed"])
    positions[0, -rows * columns :] = sines(rows, columns, dim)
    found = {"pos_embed": positions}
    for name in names:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        head_dim = shapes[name][0] // 3 // heads
        looks = [_factors(rng, dim, _LOOK, _LOOK, head_dim) for _ in range(heads)]
        left, right = _factors(rng, dim, _MOVE, -_MOVE, heads * head_dim)
        queries, keys = (np.concatenate([look[i] for look in looks], axis=1) for i in (0, 1))
        found[name] = np.concatenate([queries, keys, left], axis=1).T
        found[name.replace(".qkv.", ".proj.")] = right
    return {name: array.astype(np.float32) for name, array in found.items()}


def sines(rows: int, columns: int, dim: int) -> np.ndarray:
    """Positions (rows * columns, dim): sines and cosines of the column, then of the row, of `dim`/4
    wavelengths each (Chen et al. 2021, arXiv:2104.02057, as MoCo v3 has them)."""
    waves = _TEMPERATURE ** -(np.arange(dim // 4) / (dim // 4))
    row, column = np.mgrid[:rows, :columns].reshape(2, -1, 1) * waves
    return np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], axis=1)


def _factors(
    rng: np.random.Generator, dim: int, noise: float, identity: float, rank: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices (dim, rank) whose product, the second transposed, is near noise plus identity:
    its largest `rank` singular values are shared out to both."""
    target = noise * rng.standard_normal((dim, dim)) / np.sqrt(dim) + identity * np.eye(dim)
    u, s, v = np.linalg.svd(target)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, v[:rank].T * root
