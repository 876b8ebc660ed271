"""The linear layers of talking heads (Shazeer et al. 2020, arXiv:2003.02436)."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from vit_convert.models.layers.linear import Linear

# XNNPACK, 196 tokens, two threads: 0.04 against 0.09 ms with 4 heads, 0.15 against 0.10 with 6
_FEW = 4


class MixHeads(Linear):
    """A linear layer over the heads of attention scores or weights.

    Args:
        units: heads.
        folded: for a runtime on a phone: few heads are mixed by depthwise convolutions, which read
            memory in its order, where the linear layer needs a transpose before and after it.
            TensorFlow has no gradients of them.
    """

    def __init__(self, units: int, folded: bool, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.by_convolutions = folded and units <= _FEW

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create kernel (heads, heads) and bias (heads,)."""
        super().build((input_shape[1],))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, heads, n, m) -> the same shape."""
        if self.by_convolutions:
            return self._convolved(x)
        return tf.transpose(super().call(tf.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2))

    def _convolved(self, x: tf.Tensor) -> tf.Tensor:
        """One depthwise convolution for each output head, whose filter is the same for all m
        channels, is as high as there are heads, and dilated to reach from head to head.

        The n queries are (rows, columns), because runtimes share out the rows among their threads.
        """
        assert self.bias is not None
        _, heads, n, m = x.shape
        rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
        x = tf.reshape(x, (-1, heads * rows, n // rows, m))
        # split as a whole: slices of it are many small operations, which cost the converter memory
        kernel = tf.reshape(self.kernel, (heads, 1, 1, heads))
        filters = tf.split(tf.tile(kernel, (1, 1, m, 1)), heads, axis=3)
        biases = tf.unstack(tf.tile(tf.expand_dims(self.bias, 1), (1, m)))
        mixed = [
            # tf.nn's would make other operations of the dilation
            tf.raw_ops.DepthwiseConv2dNative(
                input=x,
                filter=one,
                strides=(1, 1, 1, 1),
                padding="VALID",
                dilations=(1, rows, 1, 1),
            )
            + bias
            for one, bias in zip(filters, biases, strict=True)
        ]
        return tf.reshape(tf.concat(mixed, axis=1), (-1, heads, n, m))
