"""From images to tokens: patches, learned tokens, positions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.norm import Norm


class _Projection(Layer):
    """A convolution whose stride is its filter's size: kernel (height, width, channels, dim)."""

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
        grid = tf.nn.conv2d(images, self.kernel, self.size, "VALID")
        return grid + self.bias if self.use_bias else grid


class PatchEmbed(Layer):
    """A linear layer over each patch; the patches become tokens row by row. Pixels beyond the last
    whole patch are not seen.

    Args:
        patch_size: (height, width) in pixels.
        dim: channels of a token.
        use_bias: whether the linear layer has a bias.
        norm: of each token.
    """

    def __init__(
        self,
        patch_size: tuple[int, int],
        dim: int,
        use_bias: bool = True,
        norm: Norm | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.proj = _Projection(patch_size, dim, use_bias, dtype=self.dtype_policy, name="proj")
        self.norm = norm

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> (batch, patches, dim)."""
        grid = self.proj(images)
        _, rows, columns, dim = grid.shape
        tokens = tf.reshape(grid, (-1, rows * columns, dim))
        return tokens if self.norm is None else self.norm(tokens)


class LearnedTokens(Layer):
    """Learned tokens (1, count, dim), the same for every image."""

    def __init__(self, count: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the tokens."""
        self.value = self.add_weight(
            "value",
            (1, self.count, input_shape[-1]),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim), of which only the batch is used -> (batch, count, dim)."""
        return tf.repeat(tf.cast(self.value, tokens.dtype), tf.shape(tokens)[0], axis=0)


class InsertTokens(LearnedTokens):
    """Puts learned tokens behind the first `after` tokens, before all others by default."""

    def __init__(self, count: int = 1, after: int = 0, **kwargs: Any) -> None:
        super().__init__(count, **kwargs)
        self.after = after

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> (batch, n + count, dim)."""
        learned = super().call(tokens)
        return tf.concat([tokens[:, : self.after], learned, tokens[:, self.after :]], axis=1)


class PositionEmbedding(Layer):
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
