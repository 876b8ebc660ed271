"""From a text's tokens to vectors, and from these to one."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures.text.config import TextPool
from vit_convert.models.layers.base import Layer


class TokenEmbedding(Layer):
    """A row of a table for each token.

    Args:
        vocab_size: rows.
        dim: channels.
    """

    def __init__(self, vocab_size: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.dim = dim

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the table (vocab_size, dim)."""
        self.weight = self.add_weight(
            "weight",
            (self.vocab_size, self.dim),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n) whole numbers -> (batch, n, dim)."""
        return tf.gather(tf.cast(self.weight, self.compute_dtype), tokens)


class PoolWords(Layer):
    """The one token that a text's embedding is made of; see `TextConfig.pool`.

    Args:
        kind: which one.
        end_token: index of the end token, where that is it.
    """

    def __init__(self, kind: TextPool, end_token: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.end_token = end_token

    def call(self, x: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim), and the tokens (batch, n) -> (batch, dim)."""
        if self.kind == "last":
            return x[:, -1]
        ranked = tokens if self.kind == "highest" else tf.cast(tokens == self.end_token, tf.int32)
        return tf.gather(x, tf.argmax(ranked, axis=1), axis=1, batch_dims=1)
