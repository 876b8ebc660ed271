"""Rotary position embedding: q and k are turned by angles that depend on where their tokens are."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.rotary import neighbours_to_halves, rotary_tables

# cosines and signed sines, (1, 1, n, channels of a head) each
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
        """(batch, n, dim), of which only the type is used
        -> twice (1, 1, n, channels of a head)."""
        cosines, sines = (tf.constant(t[None, None], tokens.dtype) for t in self.tables)
        return cosines, sines


def turned(x: tf.Tensor, tables: Tables, neighbours: bool) -> tf.Tensor:
    """Turn pairs of channels: (batch, heads, n, d) -> the same shape.

    Args:
        x: q or k of all tokens.
        tables: the constants.
        neighbours: pairs are channels 2 i and 2 i + 1, not i and i + d / 2. They come out as i and
            i + d / 2, which changes no product of q and k.
    """
    d = x.shape[-1]
    if neighbours:
        x = tf.gather(x, neighbours_to_halves(d), axis=-1)
    cosines, sines = tables
    swapped = tf.concat([x[..., d // 2 :], x[..., : d // 2]], axis=-1)
    return x * cosines + swapped * sines
