"""Rotary position embedding: q and k are turned by angles that depend on where their tokens are."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.rotary import neighbours_to_halves, rotary_tables
from vit_convert.models.layers.base import Layer

# cosines and signed sines, (1, 1 or heads, n, channels of a head) each
Tables = tuple[tf.Tensor, tf.Tensor]


class RotaryTables(Layer):
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


class MixedRotary(Layer):
    """Learned frequencies of every block and head (Heo et al. 2024, arXiv:2403.13298); see
    `vit_convert.architectures.vit.rotary.mixed_tables`."""

    def __init__(self, config: ViTConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid, self.prefix = config.grid, config.num_prefix_tokens
        self.shape = (2, config.depth, config.num_heads, config.head_dim // 2)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the frequencies (2, blocks, heads, head_dim / 2), of columns and of rows."""
        self.freqs = self.add_weight(
            "freqs", self.shape, initializer=tf_keras.initializers.RandomUniform(-1.0, 1.0)
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> list[Tables]:
        """(batch, n, dim), of which only the type is used
        -> for each block twice (1, heads, n, channels of a head)."""
        rows, columns = np.indices(self.grid).reshape(2, -1, 1).astype(np.float32)
        frequencies = tf.cast(self.freqs, tf.float32)[:, :, :, tf.newaxis]
        angles = columns * frequencies[0] + rows * frequencies[1]  # (blocks, heads, patches, d/2)
        angles = tf.pad(angles, [(0, 0), (0, 0), (self.prefix, 0), (0, 0)])
        cosines, sines = tf.cos(angles), tf.sin(angles)
        tables = tf.concat([cosines, cosines], axis=-1), tf.concat([-sines, sines], axis=-1)
        blocks = [tf.split(tf.cast(table, tokens.dtype), self.shape[1]) for table in tables]
        return list(zip(*blocks, strict=True))


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
