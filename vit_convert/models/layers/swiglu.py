"""The gated MLP of EVA-02, DINOv2 giant and AIMv2."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.norm import Norm


class SwiGlu(Layer):
    """fc2(silu(gate) * value), gate and value linear in x (Shazeer 2020, arXiv:2002.05202).

    Args:
        hidden, dim: channels inside and outside.
        packed: gate and value are the first and the second half of one layer, fc1; else they are
            fc1_g and fc1_x.
        drop: dropout behind each linear layer.
        norm: of the hidden channels, before fc2.
        use_bias: whether the linear layers have one.
    """

    def __init__(
        self,
        hidden: int,
        dim: int,
        packed: bool,
        drop: float,
        norm: Norm | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.packed = packed
        if packed:
            self.fc1 = Linear(2 * hidden, use_bias, dtype=self.dtype_policy, name="fc1")
        else:
            self.fc1_g = Linear(hidden, use_bias, dtype=self.dtype_policy, name="fc1_g")
            self.fc1_x = Linear(hidden, use_bias, dtype=self.dtype_policy, name="fc1_x")
        self.norm = norm
        self.fc2 = Linear(dim, use_bias, dtype=self.dtype_policy, name="fc2")
        self.drop = tf_keras.layers.Dropout(drop, dtype=self.dtype_policy)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(batch, n, dim) -> the same shape."""
        if self.packed:
            gate, value = tf.split(self.fc1(x), 2, axis=-1)
        else:
            gate, value = self.fc1_g(x), self.fc1_x(x)
        hidden = self.drop(gate * tf.sigmoid(gate) * value, training=training)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return self.drop(self.fc2(hidden), training=training)
