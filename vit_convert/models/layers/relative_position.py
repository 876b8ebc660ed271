"""Relative position bias: what is added to an attention score for where the two tokens are."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures.vit.relative_position import (
    num_relative_distances,
    relative_position_index,
)
from vit_convert.models.layers.weighted import Weighted


class RelativePosition(Weighted):
    """Mixin for a layer with a table of its own, or folded with what the table says of each pair of
    tokens; see `vit_convert.architectures.vit.relative_position`."""

    def add_relative_position(self, grid: tuple[int, int], heads: int, folded: bool) -> None:
        """Create the table (distances, heads), or the bias (1, heads, n, n)."""
        self._grid, self._heads, self._folded = grid, heads, folded
        tokens = 1 + grid[0] * grid[1]
        name, shape = (
            ("relative_position_bias", (1, heads, tokens, tokens))
            if folded
            else ("relative_position_bias_table", (num_relative_distances(grid), heads))
        )
        self._relative = self.add_weight(name, shape, initializer="zeros")

    def relative_position(self) -> tf.Tensor:
        """The bias (1, heads, n, n)."""
        if self._folded:
            return self._relative
        pairs = tf.gather(self._relative, relative_position_index(self._grid))
        return tf.transpose(pairs, (2, 0, 1))[tf.newaxis]


class RelativePositionBias(RelativePosition, tf_keras.layers.Layer):
    """A relative position bias that all blocks share."""

    def __init__(self, grid: tuple[int, int], heads: int, folded: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = (grid, heads, folded)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the weights."""
        self.add_relative_position(*self.arguments)
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim), of which nothing is used -> (1, heads, n, n)."""
        return tf.cast(self.relative_position(), tokens.dtype)
