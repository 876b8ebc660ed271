"""The Keras Vision Transformer: the module tree and the arithmetic of timm's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import ViTConfig
from vit_convert.models.base import ConvertedModel, Endpoints
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.noise import PatchDropout
from vit_convert.models.layers.pooling import (
    AttentionPool,
    PatchTokens,
    PoolTokens,
    TakeToken,
    UnitLength,
)
from vit_convert.models.layers.relative_position import RelativePositionBias
from vit_convert.models.layers.residual import drop_path_rates
from vit_convert.models.layers.rotary import MixedRotary, RotaryTables
from vit_convert.models.layers.tokens import InsertTokens, PatchEmbed, PositionEmbedding
from vit_convert.models.vit_blocks import Block, ParallelBlock, norms_of


class VisionTransformer(ConvertedModel):
    """ViT or DeiT; see `vit_convert.architectures.vit.config.ViTConfig` for its options.

    images (batch, height, width, channels) -> logits (batch, classes), or pooled features
    (batch, dim) where the configuration has no head.
    """

    architecture = "vit"

    @staticmethod
    def connect(config: ViTConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        norm = norms_of(config, dtype)
        points = connect_backbone(config, images, dtype)
        x = points[f"blocks.{config.depth - 1}"]
        if config.final_norm:
            last_norm = norm(name="norm")
            x = last_norm(x)
        take = PatchTokens(config.grid, config.num_prefix_tokens, dtype=dtype, name="tokens")
        for i in range(config.depth):
            tokens = points[f"blocks.{i}"]
            points[f"tokens.{i}"] = take(last_norm(tokens) if config.final_norm else tokens)
        pooled = _pool(config, x, dtype)
        if config.fc_norm:
            fc_norm = norm(name="fc_norm")
            pooled = [fc_norm(p) for p in pooled]
        if config.projection:
            pooled = [Linear(config.projection, False, dtype=dtype, name="projection")(pooled[0])]
        if config.unit_features:
            pooled = [UnitLength(dtype="float32", name="unit_length")(pooled[0])]
        points["features"] = _mean(pooled, "features")
        points["logits"] = points["features"]
        if config.num_classes:
            points["logits"] = _classify(config, pooled, dtype)
        return points


def connect_backbone(config: ViTConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
    """Images (batch, height, width, channels) -> the tokens (batch, n, dim) that the blocks see and
    give, and their attention weights."""
    x = _embed(config, images, dtype)
    points = {"embeddings": x}
    positions = _positions_of_scores(config, x, dtype)
    block_class = ParallelBlock if config.parallel > 1 else Block
    for i, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depth)):
        block = block_class(config, rate, dtype=dtype, name=f"blocks.{i}")
        x, weights = block(x, **positions[i])
        points[f"blocks.{i}"] = x
        points[f"attention.{i}"] = weights
    return points


def _embed(config: ViTConfig, images: tf.Tensor, dtype: Any) -> tf.Tensor:
    """Images (batch, height, width, channels) -> tokens (batch, n, dim), as block 0 sees them."""
    norm = norms_of(config, dtype)
    x = PatchEmbed(
        config.patch_size,
        config.embed_dim,
        config.patch_bias,
        norm(name="norm") if config.patch_norm else None,
        dtype=dtype,
        name="patch_embed",
    )(images)
    counts = {
        "reg_token": config.reg_tokens,
        "dist_token": int(config.distilled),
        "cls_token": int(config.class_token),
    }
    tokens = [name for name, count in counts.items() if count]
    uncovered = {"all": (), "class": ("reg_token",)}.get(config.position, tokens)
    for name in tokens:
        if name not in uncovered:
            x = InsertTokens(counts[name], dtype=dtype, name=name)(x)
    if config.position != "none":
        x = PositionEmbedding(dtype=dtype, name="pos_embed")(x)
    for name in tokens:
        if name in uncovered:
            after = config.num_positioned_prefix_tokens
            x = InsertTokens(counts[name], after, dtype=dtype, name=name)(x)
    x = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="pos_drop")(x)
    x = PatchDropout(config.num_prefix_tokens, dtype=dtype, name="patch_drop")(x)
    return norm(name="norm_pre")(x) if config.pre_norm else x


def _positions_of_scores(config: ViTConfig, x: tf.Tensor, dtype: Any) -> list[dict[str, Any]]:
    """Positions that the attention of each block takes, as arguments of the blocks."""
    if config.rotary == "mixed":
        return [{"rotary": t} for t in MixedRotary(config, dtype=dtype, name="rope")(x)]
    positions: dict[str, Any] = {}
    if config.rel_pos == "shared":
        positions["bias"] = RelativePositionBias(
            config.grid, config.num_heads, dtype=dtype, name="rel_pos_bias"
        )(x)
    if config.rotary != "none":
        positions["rotary"] = RotaryTables(config, dtype=dtype, name="rotary")(x)
    return [positions] * config.depth


def _pool(config: ViTConfig, x: tf.Tensor, dtype: Any) -> list[tf.Tensor]:
    """Tokens (batch, n, dim) -> the input of each head (batch, dim): one, or DeiT's two."""
    if config.pool == "token":
        count = 1 + config.distilled
        return [TakeToken(i, dtype=dtype, name=f"pool_{i}")(x) for i in range(count)]
    skip = 0 if config.pool_prefix else config.num_prefix_tokens
    if config.pool != "map":
        return [PoolTokens(config.pool, skip, dtype=dtype, name="pool")(x)]
    dim, heads = config.embed_dim, config.pool_heads or config.num_heads
    hidden = config.pool_mlp_dim or config.mlp_dim
    mlp = Mlp(hidden, dim, config.gelu, 0.0, dtype=dtype, name="mlp")
    norm = norms_of(config, dtype)(name="norm")
    return [AttentionPool(heads, dim, mlp, norm, skip, dtype=dtype, name="attn_pool")(x)]


def _classify(config: ViTConfig, pooled: list[tf.Tensor], dtype: Any) -> tf.Tensor:
    """The input of each head (batch, dim) -> logits (batch, classes)."""
    drop = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="head_drop")
    logits = [
        Linear(config.num_classes, config.head_bias, dtype="float32", name=name)(drop(p))
        for name, p in zip(("head", "head_dist")[: len(pooled)], pooled, strict=True)
    ]
    return _mean(logits, "logits")


def _mean(tensors: list[tf.Tensor], name: str) -> tf.Tensor:
    """The mean of one or two tensors of the same shape."""
    if len(tensors) == 1:
        return tensors[0]
    return tf_keras.layers.Average(dtype="float32", name=name)(tensors)
