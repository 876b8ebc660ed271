"""The Keras CaiT: the module tree and the arithmetic of timm's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import CaiTConfig
from vit_convert.models.base import ConvertedModel, Endpoints
from vit_convert.models.layers.attention import (
    AttentionOptions,
    ClassAttention,
    TalkingHeadsAttention,
)
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.noise import PatchDropout
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.pooling import PatchTokens, TakeToken
from vit_convert.models.layers.residual import DropPath
from vit_convert.models.layers.tokens import LearnedTokens, PatchEmbed, PositionEmbedding


class _LayerScaleBlock(Layer):
    """The base of both kinds of blocks: two LayerScales (gamma_1, gamma_2), stochastic depth."""

    attention_class: type[tf_keras.layers.Layer]

    def __init__(self, config: CaiTConfig, mlp_dim: int, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.dim = config.embed_dim
        self.norm1 = LayerNorm(config.norm_eps, dtype=policy, name="norm1")
        self.attn = self.attention_class(AttentionOptions.of(config), dtype=policy, name="attn")
        self.norm2 = LayerNorm(config.norm_eps, dtype=policy, name="norm2")
        self.mlp = Mlp(
            mlp_dim, config.embed_dim, config.gelu, config.drop_rate, dtype=policy, name="mlp"
        )
        self.drop_path = DropPath(drop_path, dtype=policy)

    def build(self, input_shape: Any) -> None:
        """Create gamma_1 and gamma_2 (channels,)."""
        initial = tf_keras.initializers.Constant(1e-5)
        self.gamma_1 = self.add_weight("gamma_1", (self.dim,), initializer=initial)
        self.gamma_2 = self.add_weight("gamma_2", (self.dim,), initializer=initial)
        super().build(input_shape)

    def _add_branches(self, x: tf.Tensor, attended: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Add the attention's output to x (batch, n, dim), then the MLP's."""
        x = x + self.drop_path(self.gamma_1 * attended, training=training)
        hidden = self.mlp(self.norm2(x), training=training)
        return x + self.drop_path(self.gamma_2 * hidden, training=training)


class SelfAttentionBlock(_LayerScaleBlock):
    """Talking-heads attention and MLP over the patches."""

    attention_class = TalkingHeadsAttention

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        attended, weights = self.attn(self.norm1(x), training=training)
        return self._add_branches(x, attended, training), weights


class ClassAttentionBlock(_LayerScaleBlock):
    """The class token looks at itself and the patches, which stay as they are."""

    attention_class = ClassAttention

    def call(
        self, tokens: tuple[tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """class token (batch, 1, dim), patches (batch, n, dim) -> class token (batch, 1, dim),
        attention weights (batch, heads, 1, n + 1)."""
        cls, patches = tokens
        both = tf.concat([cls, patches], axis=1)
        attended, weights = self.attn(self.norm1(both), training=training)
        return self._add_branches(cls, attended, training), weights


class CaiT(ConvertedModel):
    """CaiT; see `vit_convert.architectures.cait.config.CaiTConfig`.

    images (batch, height, width, channels) -> logits (batch, classes), or the class token
    (batch, dim) where the configuration has no head.
    """

    architecture = "cait"

    @staticmethod
    def connect(config: CaiTConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        points: Endpoints = {}
        patches = PatchEmbed(config.patch_size, config.embed_dim, dtype=dtype, name="patch_embed")(
            images
        )
        patches = PositionEmbedding(dtype=dtype, name="pos_embed")(patches)
        patches = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="pos_drop")(patches)
        patches = PatchDropout(0, dtype=dtype, name="patch_drop")(patches)
        points["embeddings"] = patches
        for i in range(config.depth):
            # CaiT's stochastic depth is the same for all blocks (arXiv:2103.17239, appendix A)
            patches, weights = SelfAttentionBlock(
                config, config.mlp_dim, config.drop_path_rate, dtype=dtype, name=f"blocks.{i}"
            )(patches)
            points[f"blocks.{i}"] = patches
            points[f"attention.{i}"] = weights
        cls = LearnedTokens(dtype=dtype, name="cls_token")(patches)
        for i in range(config.depth_token_only):
            cls, weights = ClassAttentionBlock(
                config, config.mlp_dim_token_only, 0.0, dtype=dtype, name=f"blocks_token_only.{i}"
            )((cls, patches))
            points[f"blocks_token_only.{i}"] = cls
            points[f"class_attention.{i}"] = weights
        last_norm = LayerNorm(config.norm_eps, dtype=dtype, name="norm")
        cls = last_norm(cls)
        take = PatchTokens(config.grid, 0, dtype=dtype, name="tokens")
        for i in range(config.depth):  # timm normalises the patches too
            points[f"tokens.{i}"] = take(last_norm(points[f"blocks.{i}"]))
        features = TakeToken(0, dtype=dtype, name="pool_0")(cls)
        points["features"] = points["logits"] = features
        if config.num_classes:
            features = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="head_drop")(
                features
            )
            points["logits"] = Linear(config.num_classes, dtype="float32", name="head")(features)
        return points
