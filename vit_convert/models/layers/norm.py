"""Layer normalisation over the channels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.weighted import Weighted


class LayerNorm(Weighted, tf_keras.layers.Layer):
    """LayerNorm over the last axis (Ba et al. 2016, arXiv:1607.06450), biased variance as PyTorch.

    Computed in float32 whatever the policy. A GPU delegate may compute the same graph in float16,
    where squares of large values overflow; folding scales the input, and epsilon with it, so that
    they do not (see vit_convert.folding.STREAM_SCALE).

    Args:
        epsilon: added to the variance.
        centred: the input's mean over the channels is zero already, so that
            x * rsqrt(mean(x^2) + epsilon) is the same (see vit_convert.folding).
        affine: whether there are gamma and beta.
    """

    def __init__(
        self, epsilon: float, centred: bool = False, affine: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.centred = centred
        self.affine = affine

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create gamma and beta (channels,), if affine."""
        if self.affine:
            self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
            self.beta = self.add_weight("beta", (input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., channels) -> the same shape."""
        wide = tf.cast(x, tf.float32)
        if not self.centred:
            wide = wide - tf.reduce_mean(wide, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(wide), axis=-1, keepdims=True)
        normal = wide * tf.math.rsqrt(variance + self.epsilon)
        if self.affine:
            normal = normal * tf.cast(self.gamma, tf.float32) + tf.cast(self.beta, tf.float32)
        return tf.cast(normal, x.dtype)
