"""The MLP of a transformer block, and its activation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures.base import Gelu
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.norm import Norm


def gelu(x: tf.Tensor, kind: Gelu) -> tf.Tensor:
    """GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415), or ReLU or SiLU in its place.

    "erf" is exact, x * Phi(x); "tanh" is the paper's approximation of it; "quick" is
    x * sigmoid(1.702 x), the paper's other approximation, which CLIP uses.
    """
    if kind == "relu":
        return tf.nn.relu(x)
    if kind == "silu":
        return x * tf.sigmoid(x)
    if kind == "quick":
        return x * tf.sigmoid(1.702 * x)
    return tf.nn.gelu(x, approximate=kind == "tanh")


class Mlp(Layer):
    """(batch, n, dim) -> GELU of a linear layer -> linear layer (batch, n, dim).

    Args:
        hidden, dim: channels inside and outside.
        activation: which GELU.
        drop: dropout behind each linear layer.
        norm: of the hidden channels, before the second layer.
        use_bias: whether the linear layers have one.
    """

    def __init__(
        self,
        hidden: int,
        dim: int,
        activation: Gelu,
        drop: float,
        norm: Norm | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.fc1 = Linear(hidden, use_bias, dtype=self.dtype_policy, name="fc1")
        self.norm = norm
        self.fc2 = Linear(dim, use_bias, dtype=self.dtype_policy, name="fc2")
        self.drop = tf_keras.layers.Dropout(drop, dtype=self.dtype_policy)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(batch, n, dim) -> the same shape."""
        hidden = self.drop(gelu(self.fc1(x), self.activation), training=training)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return self.drop(self.fc2(hidden), training=training)
