"""Relative position bias: added to an attention score for where its two tokens are."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.architectures.vit.relative_position import (
    num_relative_distances,
    relative_position_index,
)
from vit_convert.models.layers.base import Layer


class RelativePosition:
    """Mixin for a layer with a table of its own; see
    `vit_convert.architectures.vit.relative_position`."""

    def add_relative_position(self, grid: tuple[int, int], heads: int) -> None:
        """Create the table (distances, heads) for a grid of (rows, columns) patches."""
        self._grid = grid
        self._table = self.add_weight(  # type: ignore[attr-defined]  # Keras's
            "relative_position_bias_table",
            (num_relative_distances(grid), heads),
            initializer="zeros",
        )

    def relative_position(self) -> tf.Tensor:
        """The bias (1, heads, n, n)."""
        pairs = tf.gather(self._table, relative_position_index(self._grid))  # (n, n, heads)
        return tf.transpose(pairs, (2, 0, 1))[tf.newaxis]


class RelativePositionBias(RelativePosition, Layer):
    """A relative position bias that all blocks share."""

    def __init__(self, grid: tuple[int, int], heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid, self.heads = grid, heads

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the table."""
        self.add_relative_position(self.grid, self.heads)
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim), of which only the type is used -> (1, heads, n, n)."""
        return tf.cast(self.relative_position(), tokens.dtype)
