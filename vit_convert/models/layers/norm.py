"""Layer normalisation over the channels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class LayerNorm(tf_keras.layers.Layer):
    """LayerNorm over the last axis (Ba et al. 2016, arXiv:1607.06450), biased variance as PyTorch.

    Computed in float32 whatever the policy. With `folded` there are no parameters and no mean: the
    input is centred already and the next layer holds gamma and beta, so that
    x * rsqrt(mean(x^2) + eps) is the same (see vit_convert.folding).
    """

    def __init__(self, epsilon: float, folded: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.folded = folded

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create gamma and beta (channels,), unless folded."""
        if not self.folded:
            self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
            self.beta = self.add_weight("beta", (input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, tokens, channels) -> the same shape."""
        wide = tf.cast(x, tf.float32)
        if not self.folded:
            wide = wide - tf.reduce_mean(wide, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(wide), axis=-1, keepdims=True)
        normal = wide * tf.math.rsqrt(variance + self.epsilon)
        if not self.folded:
            normal = normal * tf.cast(self.gamma, tf.float32) + tf.cast(self.beta, tf.float32)
        return tf.cast(normal, x.dtype)
