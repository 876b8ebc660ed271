"""From tokens to one vector per image."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures.base import Pool
from vit_convert.models.layers.attention import merge_heads, scaled_scores, softmax, split_heads
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import Norm


class TakeToken(Layer):
    """One token: (batch, n, dim) -> (batch, dim)."""

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = index

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, dim)."""
        return tokens[:, self.index]


class PatchTokens(Layer):
    """The tokens of the patches, where they lie in the picture.

    Args:
        grid: (rows, columns) of patches.
        skip: how many other tokens stand before them.
    """

    def __init__(self, grid: tuple[int, int], skip: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid
        self.skip = skip

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, skip + rows * columns, dim) -> (batch, rows, columns, dim)."""
        return tf.reshape(tokens[:, self.skip :], (-1, *self.grid, tokens.shape[-1]))


class PoolTokens(Layer):
    """Pooling without parameters over all but the first tokens.

    Args:
        kind: "avg" (the mean), "max" (the maximum), "avgmax" (the mean of those two), or
            "token-avg" (the first token, and behind it the mean).
        skip: how many leading tokens are left out.
    """

    def __init__(self, kind: Pool, skip: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.skip = skip

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, dim), or (batch, 2 dim) for "token-avg"."""
        pooled = tokens[:, self.skip :]
        mean, maximum = tf.reduce_mean(pooled, axis=1), tf.reduce_max(pooled, axis=1)
        if self.kind == "avg":
            return mean
        if self.kind == "max":
            return maximum
        if self.kind == "avgmax":
            return 0.5 * (mean + maximum)
        return tf.concat([tokens[:, 0], mean], axis=-1)


class AttentionPool(Layer):
    """SigLIP's pooling (Zhai et al. 2022, arXiv:2106.04560, as timm's AttentionPoolLatent):
    attention of one learned query over the tokens, then an MLP with a residual connection.

    Args:
        num_heads: heads of the attention.
        dim: width of the tokens.
        mlp: of the dim channels of the result.
        norm: before the MLP.
        skip: how many leading tokens are left out.
    """

    def __init__(
        self, num_heads: int, dim: int, mlp: Mlp, norm: Norm, skip: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.num_heads, self.dim, self.skip = num_heads, dim, skip
        self.q = Linear(dim, dtype=policy, name="q")
        self.kv = Linear(2 * dim, dtype=policy, name="kv")
        self.proj = Linear(dim, dtype=policy, name="proj")
        self.norm = norm
        self.mlp = mlp

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the query before its projection, (1, 1, dim)."""
        self.latent = self.add_weight(
            "latent",
            (1, 1, self.dim),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(batch, n, dim) -> (batch, dim)."""
        keys, values = tf.split(self.kv(x[:, self.skip :]), 2, axis=-1)
        q = split_heads(self.q(self.latent), self.num_heads)
        k, v = split_heads(keys, self.num_heads), split_heads(values, self.num_heads)
        weights = softmax(scaled_scores(q, k))
        y = self.proj(merge_heads(tf.matmul(weights, v)))
        y = y + self.mlp(self.norm(y), training=training)
        return y[:, 0]
