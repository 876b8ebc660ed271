"""The Keras Vision Transformer: the module tree and the arithmetic of timm's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import ViTConfig
from vit_convert.models.base import ConvertedModel, Endpoints
from vit_convert.models.layers.attention_pool import AttentionPool
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.relative_position import RelativePositionBias
from vit_convert.models.layers.residual import drop_path_rates
from vit_convert.models.layers.rotary import RotaryTables
from vit_convert.models.layers.tokens import (
    Centre,
    PatchEmbed,
    PoolTokens,
    PositionEmbedding,
    PrependToken,
    TakeToken,
    TokenAndMean,
)
from vit_convert.models.vit_blocks import Block, ParallelBlock


class VisionTransformer(ConvertedModel):
    """ViT or DeiT; see `vit_convert.architectures.vit.config.ViTConfig` for what it may have.

    images (batch, height, width, channels) -> logits (batch, classes), or pooled features
    (batch, dim) where the configuration has no head.
    """

    architecture = "vit"

    @staticmethod
    def connect(config: ViTConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        points: Endpoints = {}
        x = points["embeddings"] = _embed(config, images, dtype)
        shared: dict[str, Any] = {}
        if config.rel_pos == "shared":
            arguments = (config.grid, config.num_heads, config.folded)
            layer = RelativePositionBias(*arguments, dtype=dtype, name="rel_pos_bias")
            shared["bias"] = layer(x)
        if config.rotary != "none":
            shared["rotary"] = RotaryTables(config, dtype=dtype, name="rotary")(x)
        block_class = ParallelBlock if config.parallel > 1 else Block
        for i, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depth)):
            # Nobody reads what the last block makes of the tokens that are not pooled.
            kept = config.num_pooled_tokens if i == config.depth - 1 else None
            block = block_class(config, rate, kept, dtype=dtype, name=f"blocks.{i}")
            x, weights = block(x, **shared)
            points[f"blocks.{i}"] = x
            points[f"attention.{i}"] = weights
        if config.final_norm:
            centred, affine = config.final_norm_centred, not config.folds_final_norm
            x = LayerNorm(config.stream_eps, centred, affine, dtype=dtype, name="norm")(x)
        pooled = _pool(config, x, dtype)
        if config.fc_norm:
            reads_stream, affine = not config.final_norm, not config.folds_fc_norm
            eps = config.stream_eps if reads_stream else config.norm_eps
            centred = config.final_norm_centred and reads_stream
            layer = LayerNorm(eps, centred, affine, dtype=dtype, name="fc_norm")
            pooled = [layer(p) for p in pooled]
        points["features"] = mean_of(pooled, "features")
        if config.num_classes:
            drop = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="head_drop")
            heads = ["head", "head_dist"][: len(pooled)]
            logits = [
                Linear(config.num_classes, config.head_bias, dtype="float32", name=name)(drop(p))
                for name, p in zip(heads, pooled, strict=True)
            ]
            points["logits"] = mean_of(logits, "logits")
        else:
            points["logits"] = points["features"]
        return points


def _embed(config: ViTConfig, images: tf.Tensor, dtype: Any) -> tf.Tensor:
    """Images (batch, height, width, channels) -> tokens (batch, n, dim), as block 0 sees them."""
    x = PatchEmbed(
        config.patch_size, config.embed_dim, config.has_patch_bias, dtype=dtype, name="patch_embed"
    )(images)
    tokens = {"reg_token": config.reg_tokens, "dist_token": config.distilled}
    tokens["cls_token"] = config.class_token

    def prepend(*names: str) -> None:
        nonlocal x
        for name in names:
            if count := int(tokens[name]):
                x = PrependToken(count, dtype=dtype, name=name)(x)

    if config.positioned == "all":
        prepend(*tokens)
    elif config.positioned == "class":
        prepend("dist_token", "cls_token")
    if config.positioned != "none":
        x = PositionEmbedding(dtype=dtype, name="pos_embed")(x)
    if config.positioned == "class":
        before = config.num_positioned_prefix_tokens
        x = PrependToken(config.reg_tokens, before, dtype=dtype, name="reg_token")(x)
    elif config.positioned != "all":
        prepend(*tokens)
    x = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="pos_drop")(x)
    if config.pre_norm:
        x = LayerNorm(config.stream_eps, config.folded, dtype=dtype, name="norm_pre")(x)
        if config.final_norm_centred:
            x = Centre(dtype=dtype, name="centre")(x)
    return x


def _pool(config: ViTConfig, x: tf.Tensor, dtype: Any) -> list[tf.Tensor]:
    """Tokens (batch, n, dim) -> what each head reads (batch, dim): one, or DeiT's two."""
    if config.pool == "token":
        count = 1 + config.distilled
        return [TakeToken(i, dtype=dtype, name=f"pool_{i}")(x) for i in range(count)]
    skip = 0 if config.pool_prefix else config.num_prefix_tokens
    if config.pool != "map":
        if config.pool == "token-avg":
            return [TokenAndMean(skip, dtype=dtype, name="pool")(x)]
        return [PoolTokens(config.pool, skip, dtype=dtype, name="pool")(x)]
    dim = config.embed_dim
    mlp = Mlp(config.mlp_dim, dim, config.gelu, 0.0, dtype=dtype, name="mlp")
    norm = LayerNorm(config.norm_eps, affine=not config.folded, dtype=dtype, name="norm")
    layer = AttentionPool(
        config.num_heads, dim, mlp, norm, skip, config.folded, dtype=dtype, name="attn_pool"
    )
    return [layer(x)]


def mean_of(tensors: list[tf.Tensor], name: str) -> tf.Tensor:
    """The mean of one or two tensors of the same shape."""
    if len(tensors) == 1:
        return tensors[0]
    return tf_keras.layers.Average(dtype="float32", name=name)(tensors)
