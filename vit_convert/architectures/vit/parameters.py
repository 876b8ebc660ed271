"""The parameters of a Vision Transformer, and the names of its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vit_convert.architectures.parameters import (
    Parameter,
    convolution,
    linear,
    norm,
    plain,
)
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.relative_position import num_relative_distances


def vit_num_read_tokens(config: ViTConfig) -> int | None:
    """See `Architecture.num_read_tokens`."""
    return 1 + int(config.distilled) if config.pool == "token" else None


def backbone_parameters(config: ViTConfig) -> Iterator[Parameter]:
    """All up to the norm behind the last block, in the order of `Architecture.parameters`."""
    dim = config.embed_dim
    yield from convolution(
        "patch_embed.proj", config.in_channels, dim, config.patch_size, config.patch_bias
    )
    if config.patch_norm:
        yield from _norm(config, "patch_embed.norm", dim)
    yield from _tokens(config)
    if config.pre_norm:
        yield from _norm(config, "norm_pre", dim)
    if config.rel_pos == "shared":
        yield _relative_position(config, "rel_pos_bias")
    if config.rotary == "mixed":
        yield from plain("rope.freqs", 2, config.depth, config.num_heads, config.head_dim // 2)
    for i in range(config.depth):
        yield from _block(config, f"blocks.{i}")
    if config.final_norm:
        yield from _norm(config, "norm", dim)


def vit_parameters(config: ViTConfig) -> Iterator[Parameter]:
    """See `Architecture.parameters`."""
    dim = config.embed_dim
    yield from backbone_parameters(config)
    if config.pool == "map":
        yield from _attention_pool(config)
    if config.fc_norm:
        yield from _norm(config, "fc_norm", dim)
    if config.projection:
        width = replace(config, projection=0).features_dim
        yield from linear("projection", width, config.projection, bias=False)
    if config.num_classes:
        yield from linear("head", config.features_dim, config.num_classes, config.head_bias)
        if config.distilled:
            yield from linear("head_dist", dim, config.num_classes, config.head_bias)


def _norm(config: ViTConfig, name: str, channels: int) -> Iterator[Parameter]:
    return norm(name, channels, config.norm_bias)


def _tokens(config: ViTConfig) -> Iterator[Parameter]:
    """Tokens and their positions: those that have one come before `pos_embed`, others after it."""
    dim = config.embed_dim
    tokens: dict[str, int] = {
        "reg_token": config.reg_tokens,
        "dist_token": int(config.distilled),
        "cls_token": int(config.class_token),
    }
    positioned = {"all": tuple(tokens), "class": ("dist_token", "cls_token")}
    before = positioned.get(config.position, ())
    order = [*(t for t in tokens if t in before), "pos_embed"]
    order += [t for t in tokens if t not in before]
    for name in order:
        if name == "pos_embed":
            if config.position != "none":
                count = config.num_positioned_prefix_tokens + config.num_patches
                yield from plain("pos_embed", 1, count, dim)
        elif tokens[name]:
            yield from plain(name, 1, tokens[name], dim)


def _block(config: ViTConfig, block: str) -> Iterator[Parameter]:
    dim = config.embed_dim

    def attention(name: str) -> Iterator[Parameter]:
        if config.rel_pos == "blocks":
            yield _relative_position(config, name)
        yield from linear(f"{name}.qkv", dim, 3 * dim, config.qkv_bias)
        if config.qk_norm:
            yield from _norm(config, f"{name}.q_norm", config.head_dim)
            yield from _norm(config, f"{name}.k_norm", config.head_dim)
        if config.attn_norm:
            yield from _norm(config, f"{name}.norm", dim)
        yield from linear(f"{name}.proj", dim, dim, config.proj_bias)

    def mlp(name: str) -> Iterator[Parameter]:
        hidden, bias = config.mlp_dim, config.mlp_bias
        if config.mlp == "swiglu":
            yield from linear(f"{name}.fc1_g", dim, hidden, bias)
            yield from linear(f"{name}.fc1_x", dim, hidden, bias)
        else:
            packed = config.mlp == "swiglu-packed"
            yield from linear(f"{name}.fc1", dim, 2 * hidden if packed else hidden, bias)
        if config.mlp_norm:
            yield from _norm(config, f"{name}.norm", hidden)
        yield from linear(f"{name}.fc2", hidden, dim, bias)

    def scale(name: str, wanted: bool = True) -> Iterator[Parameter]:
        if config.layer_scale and wanted:
            yield from plain(f"{name}.gamma", dim)

    if config.parallel > 1:
        for kind, module, layers in (("attns", "attn", attention), ("ffns", "mlp", mlp)):
            for j in range(config.parallel):
                yield from _norm(config, f"{block}.{kind}.{j}.norm", dim)
                yield from layers(f"{block}.{kind}.{j}.{module}")
                yield from scale(f"{block}.{kind}.{j}.ls")
        return
    yield from _norm(config, f"{block}.norm1", dim)
    yield from attention(f"{block}.attn")
    yield from scale(f"{block}.ls1")
    yield from _norm(config, f"{block}.norm2", dim)
    yield from mlp(f"{block}.mlp")
    yield from scale(f"{block}.ls2", config.mlp_layer_scale)


def _relative_position(config: ViTConfig, module: str) -> Parameter:
    shape = (num_relative_distances(config.grid), config.num_heads)
    return Parameter(f"{module}.relative_position_bias_table", shape, "plain")


def _attention_pool(config: ViTConfig) -> Iterator[Parameter]:
    dim, hidden = config.embed_dim, config.pool_mlp_dim or config.mlp_dim
    yield from plain("attn_pool.latent", 1, 1, dim)
    yield from linear("attn_pool.q", dim, dim)
    yield from linear("attn_pool.kv", dim, 2 * dim)
    yield from linear("attn_pool.proj", dim, dim)
    yield from _norm(config, "attn_pool.norm", dim)
    yield from linear("attn_pool.mlp.fc1", dim, hidden)
    yield from linear("attn_pool.mlp.fc2", hidden, dim)
