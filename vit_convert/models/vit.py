"""The Keras Vision Transformer: the module tree and the arithmetic of timm's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import ViTConfig
from vit_convert.errors import RecognitionError
from vit_convert.models.base import ConvertedModel, Endpoints, attention_options, block_norm
from vit_convert.models.layers.attention import Attention
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.residual import DropPath, LayerScale, drop_path_rates
from vit_convert.models.layers.tokens import (
    MeanOfPatches,
    PatchEmbed,
    PositionEmbedding,
    PrependToken,
    TakeToken,
)


class Block(tf_keras.layers.Layer):
    """Pre-norm transformer block: attention and MLP, each added to the tokens."""

    def __init__(self, config: ViTConfig, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        scaled = config.layer_scale
        self.norm1 = block_norm(config, policy, "norm1")
        self.attn = Attention(attention_options(config), dtype=policy, name="attn")
        self.ls1 = LayerScale(dtype=policy, name="ls1") if scaled else None
        self.norm2 = block_norm(config, policy, "norm2")
        self.mlp = Mlp(
            config.mlp_dim,
            config.embed_dim,
            config.gelu,
            config.drop_rate,
            dtype=policy,
            name="mlp",
        )
        self.ls2 = LayerScale(dtype=policy, name="ls2") if scaled else None
        self.drop_path = DropPath(drop_path, dtype=policy)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        branch, weights = self.attn(self.norm1(x), training=training)
        x = x + self.drop_path(self.ls1(branch) if self.ls1 else branch, training=training)
        branch = self.mlp(self.norm2(x), training=training)
        x = x + self.drop_path(self.ls2(branch) if self.ls2 else branch, training=training)
        return x, weights


class VisionTransformer(ConvertedModel):
    """ViT or DeiT; see `vit_convert.architectures.vit.ViTConfig` for what it may have.

    images (batch, height, width, channels) -> logits (batch, classes), or pooled features
    (batch, dim) where the configuration has no head.
    """

    architecture = "vit"
    attention_name = "output_2_transformer_block_{i}_att"

    @staticmethod
    def connect(config: ViTConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        _refuse_unfinished(config)
        dim = config.embed_dim
        points: Endpoints = {}
        x = PatchEmbed(config.patch_size, dim, not config.folded, dtype=dtype, name="patch_embed")(
            images
        )
        if config.distilled:
            x = PrependToken(dtype=dtype, name="dist_token")(x)
        if config.class_token:
            x = PrependToken(dtype=dtype, name="cls_token")(x)
        x = PositionEmbedding(dtype=dtype, name="pos_embed")(x)
        x = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="pos_drop")(x)
        points["embeddings"] = x
        for i, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depth)):
            x, weights = Block(config, rate, dtype=dtype, name=f"blocks.{i}")(x)
            points[f"blocks.{i}"] = x
            points[f"attention.{i}"] = weights
        if config.final_norm:
            affine = not config.folds_final_norm
            x = LayerNorm(config.norm_eps, config.folded, affine, dtype=dtype, name="norm")(x)
        if config.pool == "avg":
            pooled = [MeanOfPatches(config.num_prefix_tokens, dtype=dtype, name="pool")(x)]
        else:
            count = 1 + config.distilled
            pooled = [TakeToken(i, dtype=dtype, name=f"pool_{i}")(x) for i in range(count)]
        if config.fc_norm:
            centred = config.folded and not config.final_norm
            affine = not config.folds_fc_norm
            layer = LayerNorm(config.norm_eps, centred, affine, dtype=dtype, name="fc_norm")
            pooled = [layer(p) for p in pooled]
        points["features"] = mean_of(pooled, "features")
        if config.num_classes:
            drop = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="head_drop")
            heads = ["head", "head_dist"][: len(pooled)]
            logits = [
                Linear(config.num_classes, dtype="float32", name=name)(drop(p))
                for name, p in zip(heads, pooled, strict=True)
            ]
            points["logits"] = mean_of(logits, "logits")
        else:
            points["logits"] = points["features"]
        return points


def _refuse_unfinished(config: ViTConfig) -> None:
    wanted = {
        "reg_tokens": 0,
        "position": "all",
        "rel_pos": "none",
        "patch_bias": True,
        "pre_norm": False,
        "norm_position": "pre",
        "parallel": 1,
        "qk_norm": False,
        "attn_norm": False,
        "mlp": "plain",
        "mlp_norm": False,
        "pool_prefix": False,
        "head_bias": True,
    }
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise RecognitionError(f"{name}={getattr(config, name)} is not supported yet")
    if config.pool not in ("token", "avg"):
        raise RecognitionError(f"pool={config.pool} is not supported yet")


def mean_of(tensors: list[tf.Tensor], name: str) -> tf.Tensor:
    """The mean of one or two tensors of the same shape."""
    if len(tensors) == 1:
        return tensors[0]
    return tf_keras.layers.Average(dtype="float32", name=name)(tensors)
