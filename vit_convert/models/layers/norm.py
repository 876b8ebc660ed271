"""Layer normalisation over the channels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class LayerNorm(tf_keras.layers.Layer):
    """LayerNorm over the last axis (Ba et al. 2016, arXiv:1607.06450), biased variance as PyTorch.

    It is computed in float32 whatever the policy.

    Args:
        epsilon: added to the variance.
    """

    def __init__(self, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create gamma and beta (channels,)."""
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
        self.beta = self.add_weight("beta", (input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., channels) -> the same shape."""
        wide = tf.cast(x, tf.float32)
        centred = wide - tf.reduce_mean(wide, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        normal = centred * tf.math.rsqrt(variance + self.epsilon)
        scaled = normal * tf.cast(self.gamma, tf.float32) + tf.cast(self.beta, tf.float32)
        return tf.cast(scaled, x.dtype)
