"""Attention pooling: a learned query gathers the tokens into one vector."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.attention import merge_heads, softmax, split_heads
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.weighted import Weighted


class AttentionPool(Weighted, tf_keras.layers.Layer):
    """SigLIP's head (Zhai et al. 2022, arXiv:2106.04560, as timm's AttentionPoolLatent): attention
    of one learned query over the tokens, then an MLP with a residual connection.

    Args:
        num_heads: heads of the attention.
        mlp: of the dim channels of the result.
        norm: before the MLP.
        skip: leading tokens that are left out.
        folded: one linear layer gives each head's score of a token; the query is in it.
    """

    def __init__(
        self,
        num_heads: int,
        dim: int,
        mlp: Mlp,
        norm: LayerNorm,
        skip: int,
        folded: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.num_heads, self.dim, self.skip, self.folded = num_heads, dim, skip, folded
        if folded:
            self.scores = Linear(num_heads, use_bias=False, dtype=policy, name="scores")
            self.v = Linear(dim, use_bias=False, dtype=policy, name="v")
        else:
            self.q = Linear(dim, dtype=policy, name="q")
            self.kv = Linear(2 * dim, dtype=policy, name="kv")
        self.proj = Linear(dim, dtype=policy, name="proj")
        self.norm = norm
        self.mlp = mlp

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the query before its projection, (1, 1, dim), unless folded."""
        if not self.folded:
            self.latent = self.add_weight(
                "latent",
                (1, 1, self.dim),
                initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
            )
        super().build(input_shape)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(batch, n, dim) -> (batch, dim)."""
        if self.skip:
            x = x[:, self.skip :]
        scores, v = self._folded_scores(x) if self.folded else self._scores(x)
        mixed = merge_heads(tf.matmul(softmax(scores), split_heads(v, self.num_heads)))
        y = self.proj(mixed)
        y = y + self.mlp(self.norm(y), training=training)
        return tf.reshape(y, (-1, self.dim))

    def _scores(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, heads, 1, n), v (batch, n, dim)."""
        q = self.q(self.latent) * (self.dim // self.num_heads) ** -0.5
        k, v = tf.split(self.kv(x), 2, axis=-1)
        return tf.matmul(split_heads(q, self.num_heads), self._transposed(k)), v

    def _folded_scores(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, heads, 1, n), v (batch, n, dim)."""
        return self._transposed(self.scores(x)), self.v(x)

    def _transposed(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, n, heads * d) -> (batch, heads, d, n)."""
        return split_heads(x, self.num_heads, (0, 2, 3, 1))
