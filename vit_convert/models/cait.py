"""The Keras CaiT: the module tree and the arithmetic of timm's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import CaiTConfig
from vit_convert.models.base import ConvertedModel, Endpoints, attention_options, block_norm
from vit_convert.models.layers.attention import ClassAttention, TalkingHeadsAttention
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.residual import DropPath
from vit_convert.models.layers.tokens import (
    ClassToken,
    PatchEmbed,
    PositionEmbedding,
    TakeToken,
)
from vit_convert.models.layers.weighted import Weighted


class _ScaledBlock(Weighted, tf_keras.layers.Layer):
    """What both kinds of blocks share: two LayerScales (gamma_1, gamma_2) and stochastic depth."""

    attention_class: type[tf_keras.layers.Layer]

    def __init__(self, config: CaiTConfig, mlp_dim: int, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.scaled = not config.folded
        self.dim = config.embed_dim
        self.norm1 = block_norm(config, policy, "norm1")
        self.attn = self.attention_class(attention_options(config), dtype=policy, name="attn")
        self.norm2 = block_norm(config, policy, "norm2")
        self.mlp = Mlp(
            mlp_dim, config.embed_dim, config.gelu, config.drop_rate, dtype=policy, name="mlp"
        )
        self.drop_path = DropPath(drop_path, dtype=policy)

    def build(self, input_shape: Any) -> None:
        """Create gamma_1 and gamma_2 (channels,), unless folded."""
        if self.scaled:
            initial = tf_keras.initializers.Constant(1e-5)
            self.gamma_1 = self.add_weight("gamma_1", (self.dim,), initializer=initial)
            self.gamma_2 = self.add_weight("gamma_2", (self.dim,), initializer=initial)
        super().build(input_shape)

    def _add_branches(self, x: tf.Tensor, attended: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Add the attention's output to x (batch, n, dim), then the MLP's."""
        if self.scaled:
            attended = attended * self.gamma_1
        x = x + self.drop_path(attended, training=training)
        hidden = self.mlp(self.norm2(x), training=training)
        if self.scaled:
            hidden = hidden * self.gamma_2
        return x + self.drop_path(hidden, training=training)


class SelfAttentionBlock(_ScaledBlock):
    """Talking-heads attention and MLP over the patches."""

    attention_class = TalkingHeadsAttention

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        attended, weights = self.attn(self.norm1(x), training=training)
        return self._add_branches(x, attended, training), weights


class ClassAttentionBlock(_ScaledBlock):
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
        x = PatchEmbed(
            config.patch_size, config.embed_dim, not config.folded, dtype=dtype, name="patch_embed"
        )(images)
        x = PositionEmbedding(dtype=dtype, name="pos_embed")(x)
        x = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="pos_drop")(x)
        points["embeddings"] = x
        for i in range(config.depth):
            # CaiT's stochastic depth is the same for all blocks (arXiv:2103.17239, appendix A)
            x, weights = SelfAttentionBlock(
                config, config.mlp_dim, config.drop_path_rate, dtype=dtype, name=f"blocks.{i}"
            )(x)
            points[f"blocks.{i}"] = x
            points[f"attention.{i}"] = weights
        cls = ClassToken(dtype=dtype, name="cls_token")(x)
        for i in range(config.depth_token_only):
            cls, weights = ClassAttentionBlock(
                config, config.mlp_dim_token_only, 0.0, dtype=dtype, name=f"blocks_token_only.{i}"
            )((cls, x))
            points[f"blocks_token_only.{i}"] = cls
            points[f"class_attention.{i}"] = weights
        # The last norm acts on each token alone, so the class token is all that needs it.
        affine = not config.folds_final_norm
        cls = LayerNorm(config.stream_eps, config.folded, affine, dtype=dtype, name="norm")(cls)
        points["features"] = TakeToken(0, dtype=dtype, name="pool_0")(cls)
        if config.num_classes:
            drop = tf_keras.layers.Dropout(config.drop_rate, dtype=dtype, name="head_drop")
            points["logits"] = Linear(config.num_classes, dtype="float32", name="head")(
                drop(points["features"])
            )
        else:
            points["logits"] = points["features"]
        return points
