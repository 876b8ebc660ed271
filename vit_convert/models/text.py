"""The Keras text towers of CLIP and SigLIP, with the names and the arithmetic of a ViT."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.architectures.text.config import TextConfig
from vit_convert.architectures.text.masking import earlier_only_mask
from vit_convert.models.base import ConvertedModel, Endpoints
from vit_convert.models.layers.attention import Attention, AttentionOptions
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.pooling import UnitLength
from vit_convert.models.layers.tokens import PositionEmbedding
from vit_convert.models.layers.words import PoolWords, TokenEmbedding


class TextTransformer(ConvertedModel):
    """A text tower; see `vit_convert.architectures.text.config.TextConfig` for its options.

    tokens (batch, context) int32 -> embeddings (batch, dim) of length 1.
    """

    architecture = "text"

    @staticmethod
    def connect(config: TextConfig, tokens: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        x = TokenEmbedding(config.vocab_size, config.embed_dim, dtype=dtype, name="token_embed")(
            tokens
        )
        x = PositionEmbedding(dtype=dtype, name="pos_embed")(x)
        points = {"embeddings": x}
        for i in range(config.depth):
            x, weights = TextBlock(config, dtype=dtype, name=f"blocks.{i}")(x)
            points[f"blocks.{i}"] = x
            points[f"attention.{i}"] = weights
        x = LayerNorm(config.norm_eps, dtype=dtype, name="norm")(x)
        pooled = PoolWords(config.pool, config.end_token, dtype=dtype, name="pool")(x, tokens)
        if config.out_dim:
            pooled = Linear(config.out_dim, config.out_bias, dtype="float32", name="head")(pooled)
        points["features"] = pooled
        points["logits"] = UnitLength(dtype="float32", name="unit_length")(pooled)
        return points


class TextBlock(Layer):
    """A ViT's block, in which a token may see only itself and those before it.

    Args:
        config: of the model.
    """

    def __init__(self, config: TextConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        options = AttentionOptions(
            dim=config.embed_dim,
            num_heads=config.num_heads,
            qkv_bias=True,
            attn_drop=0.0,
            proj_drop=0.0,
            norm_eps=config.norm_eps,
        )
        self.causal = config.causal
        self.norm1 = LayerNorm(config.norm_eps, dtype=policy, name="norm1")
        self.attn = Attention(options, dtype=policy, name="attn")
        self.norm2 = LayerNorm(config.norm_eps, dtype=policy, name="norm2")
        self.mlp = Mlp(config.mlp_dim, config.embed_dim, config.gelu, 0.0, dtype=policy, name="mlp")

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> the same shape, attention weights (batch, heads, n, n)."""
        mask = tf.constant(earlier_only_mask(x.shape[1])) if self.causal else None
        branch, weights = self.attn(self.norm1(x), bias=mask, training=training)
        x = x + branch
        return x + self.mlp(self.norm2(x), training=training), weights
