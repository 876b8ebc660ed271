"""A linear layer over the last axis."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class Linear(tf_keras.layers.Layer):
    """x (..., inputs) -> x @ kernel + bias (..., outputs); kernel (inputs, outputs)."""

    def __init__(self, units: int, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.use_bias = use_bias

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create kernel and bias; truncated normal of 0.02 and zeros, as ViTs are initialised."""
        self.kernel = self.add_weight(
            "kernel",
            (input_shape[-1], self.units),
            initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        )
        self.bias = (
            self.add_weight("bias", (self.units,), initializer="zeros") if self.use_bias else None
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., inputs) -> (..., units)."""
        y = tf.matmul(x, self.kernel)
        return y if self.bias is None else y + self.bias
