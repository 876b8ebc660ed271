"""Rotary position embedding: q and k turned by where their tokens are."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.rotary import neighbours_to_halves, rotary_tables

# cosines and signed sines, (1, n, 1, channels of a head) each
Tables = tuple[tf.Tensor, tf.Tensor]


class RotaryTables(tf_keras.layers.Layer):
    """The constants of a model's grid, once for all blocks."""

    def __init__(self, config: ViTConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = rotary_tables(
            config.rotary,
            config.grid,
            config.head_dim,
            config.rotary_base,
            config.rotary_grid,
            config.num_prefix_tokens,
        )

    def call(self, tokens: tf.Tensor) -> Tables:
        """(batch, n, dim), of which nothing is used -> twice (1, n, 1, channels of a head)."""
        cosines, sines = (tf.constant(t[None, :, None], tokens.dtype) for t in self.tables)
        return cosines, sines


def in_halves(x: tf.Tensor) -> tf.Tensor:
    """Pairs of neighbours as the halves of each head: (batch, n, heads, d) -> the same shape."""
    return tf.gather(x, neighbours_to_halves(x.shape[-1]), axis=-1)


def turned(x: tf.Tensor, tables: Tables, interleaved: bool) -> tf.Tensor:
    """Turn the pairs of channels of each head: (batch, n, heads, d) -> the same shape.

    Args:
        x: of all tokens.
        tables: the constants.
        interleaved: pairs are neighbours; they come out as halves, for q and k alike.
    """
    d = x.shape[-1]
    if interleaved:
        x = in_halves(x)
    cosines, sines = tables
    swapped = tf.concat([x[..., d // 2 :], x[..., : d // 2]], axis=-1)
    return x * cosines + swapped * sines
