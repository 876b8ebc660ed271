"""A linear layer over the last axis, with a low-rank addition for fine-tuning."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.base import Layer


class Linear(Layer):
    """x (..., inputs) -> x @ kernel + bias (..., outputs); kernel (inputs, outputs)."""

    lora_rank = 0

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
        if self.lora_rank:
            y = y + self.lora_scale * tf.matmul(tf.matmul(x, self.lora_a), self.lora_b)
        return y if self.bias is None else y + self.bias

    def add_lora(self, rank: int, scale: float, seed: int) -> None:
        """Add scale * a @ b to the kernel (Hu et al. 2021, arXiv:2106.09685), b being zero.

        Args:
            rank: columns of a (inputs, rank) and rows of b (rank, outputs).
            scale: alpha / rank in the paper.
            seed: of a's values, uniform in +-1 / sqrt(inputs), as loralib's.
        """
        inputs = self.kernel.shape[0]
        bound = inputs**-0.5
        with tf.init_scope(), tf.name_scope(self.kernel.name.rpartition("/")[0] + "/"):
            self.lora_a = self.add_weight(
                "lora_a",
                (inputs, rank),
                initializer=tf_keras.initializers.RandomUniform(-bound, bound, seed=seed),
            )
            self.lora_b = self.add_weight("lora_b", (rank, self.units), initializer="zeros")
        self.lora_rank, self.lora_scale = rank, scale

    def merged_kernel(self) -> tf.Tensor:
        """The kernel with the low-rank addition, (inputs, outputs)."""
        if not self.lora_rank:
            return tf.convert_to_tensor(self.kernel)
        return self.kernel + self.lora_scale * tf.matmul(self.lora_a, self.lora_b)

    def merge_lora(self) -> None:
        """Add the low-rank part to the kernel, and do without it from now on."""
        self.kernel.assign(self.merged_kernel())
        self.lora_rank = 0
        del self.lora_a, self.lora_b

    def save_own_variables(self, store: Any) -> None:
        """Save for Keras, merged, so that a layer without a low-rank part can load it."""
        store["0"] = self.merged_kernel().numpy()
        if self.bias is not None:
            store["1"] = self.bias.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load what `save_own_variables` saved; the low-rank part is zero then."""
        if self.lora_rank:
            self.lora_b.assign(tf.zeros_like(self.lora_b))
        self.kernel.assign(store["0"])
        if self.bias is not None:
            self.bias.assign(store["1"])
