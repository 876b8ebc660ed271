"""Normalisation over the channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from vit_convert.architectures.base import NormKind
from vit_convert.models.layers.base import Layer


class LayerNorm(Layer):
    """LayerNorm over the last axis (Ba et al. 2016, arXiv:1607.06450), biased variance as PyTorch.

    It is computed in float32 whatever the policy.

    Args:
        epsilon: added to the variance.
        use_bias: whether there is a beta.
    """

    def __init__(self, epsilon: float, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.use_bias = use_bias

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create gamma and beta (channels,)."""
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
        if self.use_bias:
            self.beta = self.add_weight("beta", (input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., channels) -> the same shape."""
        wide = tf.cast(x, tf.float32)
        centred = wide - tf.reduce_mean(wide, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        normal = centred * tf.math.rsqrt(variance + self.epsilon)
        scaled = normal * tf.cast(self.gamma, tf.float32)
        if self.use_bias:
            scaled += tf.cast(self.beta, tf.float32)
        return tf.cast(scaled, x.dtype)


class RmsNorm(Layer):
    """RMSNorm over the last axis (Zhang and Sennrich 2019, arXiv:1910.07467), as in timm's RmsNorm:
    no mean is subtracted, and there is no bias.

    It is computed in float32 whatever the policy.

    Args:
        epsilon: added to the mean of the squares.
    """

    def __init__(self, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create gamma (channels,)."""
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., channels) -> the same shape."""
        wide = tf.cast(x, tf.float32)
        mean_square = tf.reduce_mean(tf.square(wide), axis=-1, keepdims=True)
        normal = wide * tf.math.rsqrt(mean_square + self.epsilon)
        return tf.cast(normal * tf.cast(self.gamma, tf.float32), x.dtype)


Norm = LayerNorm | RmsNorm
MakeNorm = Callable[..., Norm]  # (name=...) -> a norm


def norms(kind: NormKind, epsilon: float, use_bias: bool, dtype: Any) -> MakeNorm:
    """What makes all norms of a model, given their names."""
    if kind == "rms":
        return partial(RmsNorm, epsilon, dtype=dtype)
    return partial(LayerNorm, epsilon, use_bias, dtype=dtype)
