"""The parameters of a CaiT, and the names of its blocks."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.architectures.cait.config import CaiTConfig
from vit_convert.architectures.parameters import (
    Parameter,
    convolution,
    linear,
    norm,
    plain,
)


def cait_block_names(config: CaiTConfig) -> tuple[str, ...]:
    """See `Architecture.block_names`."""
    return (
        "embeddings",
        *(f"blocks.{i}" for i in range(config.depth)),
        *(f"blocks_token_only.{i}" for i in range(config.depth_token_only)),
    )


def cait_parameters(config: CaiTConfig) -> Iterator[Parameter]:
    """See `Architecture.parameters`."""
    dim, heads = config.embed_dim, config.num_heads
    yield from convolution("patch_embed.proj", config.in_channels, dim, config.patch_size)
    yield from plain("pos_embed", 1, config.num_patches, dim)
    for i in range(config.depth):
        block = f"blocks.{i}"
        yield from _layer_scales(block, dim)
        yield from norm(f"{block}.norm1", dim)
        yield from linear(f"{block}.attn.qkv", dim, 3 * dim, config.qkv_bias)
        yield from linear(f"{block}.attn.proj", dim, dim)
        yield from linear(f"{block}.attn.proj_l", heads, heads)
        yield from linear(f"{block}.attn.proj_w", heads, heads)
        yield from _mlp(block, dim, config.mlp_dim)
    yield from plain("cls_token", 1, 1, dim)
    for i in range(config.depth_token_only):
        block = f"blocks_token_only.{i}"
        yield from _layer_scales(block, dim)
        yield from norm(f"{block}.norm1", dim)
        for part in ("q", "k", "v"):
            yield from linear(f"{block}.attn.{part}", dim, dim, config.qkv_bias)
        yield from linear(f"{block}.attn.proj", dim, dim)
        yield from _mlp(block, dim, config.mlp_dim_token_only)
    yield from norm("norm", dim)
    if config.num_classes:
        yield from linear("head", dim, config.num_classes)


def _layer_scales(block: str, dim: int) -> Iterator[Parameter]:
    yield from plain(f"{block}.gamma_1", dim)
    yield from plain(f"{block}.gamma_2", dim)


def _mlp(block: str, dim: int, hidden: int) -> Iterator[Parameter]:
    yield from norm(f"{block}.norm2", dim)
    yield from linear(f"{block}.mlp.fc1", dim, hidden)
    yield from linear(f"{block}.mlp.fc2", hidden, dim)
