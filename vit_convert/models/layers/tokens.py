"""From picture to tokens: patches, class tokens, positions; and back from tokens to one vector."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures.base import Pool
from vit_convert.models.layers.weighted import Weighted


class _Projection(Weighted, tf_keras.layers.Layer):
    """A convolution whose stride is its filter's size: kernel (height, width, channels, dim).

    A row of a patch is made one pixel of many channels: the same numbers in the same order, and a
    convolution with longer inner products, in which CPUs are twice as fast in int8.
    """

    def __init__(self, size: tuple[int, int], dim: int, use_bias: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.dim = dim
        self.use_bias = use_bias

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create kernel and bias."""
        self.kernel = self.add_weight(
            "kernel",
            (*self.size, input_shape[-1], self.dim),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.dim,), initializer="zeros")
        super().build(input_shape)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> (batch, rows, columns, dim)."""
        _, height, width, channels = images.shape
        patch, wide = self.size
        rows = tf.reshape(images, (-1, height, width // wide, wide * channels))
        kernel = tf.reshape(self.kernel, (patch, 1, wide * channels, self.dim))
        grid = tf.nn.conv2d(rows, kernel, (patch, 1), "VALID")
        return grid + self.bias if self.use_bias else grid


class PatchEmbed(tf_keras.layers.Layer):
    """Images (batch, height, width, channels) -> tokens (batch, patches, dim), row by row."""

    def __init__(
        self, patch_size: tuple[int, int], dim: int, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.proj = _Projection(patch_size, dim, use_bias, dtype=self.dtype_policy, name="proj")

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> (batch, patches, dim)."""
        grid = self.proj(images)
        _, rows, columns, dim = grid.shape
        return tf.reshape(grid, (-1, rows * columns, dim))


class PrependToken(Weighted, tf_keras.layers.Layer):
    """Puts learned tokens (1, count, dim) before the others, or behind the first `after`."""

    def __init__(self, count: int = 1, after: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.after = after

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the tokens."""
        self.value = self.add_weight(
            "value",
            (1, self.count, input_shape[-1]),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, n + count, dim)."""
        parts = [batched(self.value, tokens), tokens]
        if self.after:
            parts = [tokens[:, : self.after], parts[0], tokens[:, self.after :]]
        return tf.concat(parts, axis=1)


class ClassToken(PrependToken):
    """The learned token alone, once per picture: (batch, n, dim) -> (batch, 1, dim)."""

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, 1, dim)."""
        return batched(self.value, tokens)


def batched(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Repeat (1, n, dim) to the batch of `like`; nothing is added to the graph for a batch of one,
    because GPU delegates refuse SHAPE and BROADCAST_TO."""
    value = tf.cast(value, like.dtype)
    if like.shape[0] == 1:
        return value
    return tf.tile(value, (tf.shape(like)[0], 1, 1))


class PositionEmbedding(Weighted, tf_keras.layers.Layer):
    """Adds a learned embedding (1, n, dim) to the tokens (batch, n, dim)."""

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the embedding."""
        self.value = self.add_weight(
            "value",
            (1, *input_shape[1:]),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> the same shape."""
        return tokens + self.value


class TakeToken(tf_keras.layers.Layer):
    """One token: (batch, n, dim) -> (batch, dim).

    The slice keeps its axis and a reshape drops it, because GPU delegates refuse shrinking slices.
    """

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = index

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, dim)."""
        return tf.reshape(tokens[:, self.index : self.index + 1], (-1, tokens.shape[-1]))


class TokenAndMean(tf_keras.layers.Layer):
    """The first token, and the mean over all but the first `skip`, one after the other:
    (batch, n, dim) -> (batch, 2 dim)."""

    def __init__(self, skip: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.skip = skip

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, 2 dim)."""
        mean = tf.reduce_mean(tokens[:, self.skip :], axis=1, keepdims=True)
        both = tf.concat([tokens[:, :1], mean], axis=-1)
        return tf.reshape(both, (-1, 2 * tokens.shape[-1]))


class PoolTokens(tf_keras.layers.Layer):
    """The mean ("avg") or the maximum ("max") over all but the first `skip` tokens, or the mean of
    those two ("avgmax"): (batch, n, dim) -> (batch, dim)."""

    def __init__(self, kind: Pool, skip: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.skip = skip

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, dim)."""
        taken = tokens[:, self.skip :] if self.skip else tokens
        pooled = []
        if self.kind in ("avg", "avgmax"):
            pooled.append(tf.reduce_mean(taken, axis=1, keepdims=True))
        if self.kind in ("max", "avgmax"):
            pooled.append(tf.reduce_max(taken, axis=1, keepdims=True))
        both = pooled[0] if len(pooled) == 1 else 0.5 * (pooled[0] + pooled[1])
        return tf.reshape(both, (-1, tokens.shape[-1]))


class Centre(tf_keras.layers.Layer):
    """Takes the mean over the channels from each token: (batch, n, dim) -> the same shape."""

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> the same shape."""
        return tokens - tf.reduce_mean(tokens, axis=-1, keepdims=True)
