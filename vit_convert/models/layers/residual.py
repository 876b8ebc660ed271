"""The learned scale of a residual branch, and stochastic depth."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.noise import uniform


class LayerScale(Layer):
    """x * gamma, one factor per channel (Touvron et al. 2021, arXiv:2103.17239)."""

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create gamma (channels,)."""
        self.gamma = self.add_weight(
            "gamma", (input_shape[-1],), initializer=tf_keras.initializers.Constant(1e-5)
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, n, channels) -> the same shape."""
        return x * self.gamma


class DropPath(Layer):
    """Stochastic depth per sample (Huang et al. 2016, arXiv:1603.09382): in training the whole
    branch is zero with probability `rate`, and scaled by 1 / (1 - rate) otherwise."""

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(batch, n, channels) -> the same shape."""
        if not training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        kept = tf.floor(keep + uniform((tf.shape(x)[0], 1, 1)))
        return x * tf.cast(kept / keep, x.dtype)


def drop_path_rates(rate: float, depth: int) -> list[float]:
    """Linearly growing from 0 to `rate` over the blocks, as timm's and the paper's."""
    return [rate * i / max(1, depth - 1) for i in range(depth)]
