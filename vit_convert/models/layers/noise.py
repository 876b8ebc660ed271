"""The noise that training puts into a model, where it follows from a seed and the step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from vit_convert.models.layers.base import Layer


@dataclass
class _Noise:
    seed: tf.Tensor
    patch_dropout: float
    drawn: int = 0


_noise: ContextVar[_Noise | None] = ContextVar("noise", default=None)


@contextmanager
def noise_from(seed: tf.Tensor, patch_dropout: float = 0.0) -> Iterator[None]:
    """Let the noise of all that is computed in the block follow from a seed (2,) int32, and not
    from TensorFlow's state, which cannot be stored: the same seed gives the same noise.

    Args:
        seed: of the step.
        patch_dropout: the share of each image's patches that is left out.
    """
    token = _noise.set(_Noise(seed, patch_dropout))
    try:
        yield
    finally:
        _noise.reset(token)


def uniform(shape: tuple[Any, ...]) -> tf.Tensor:
    """Numbers from 0 to below 1, float32."""
    found = _noise.get()
    if found is None:
        return tf.random.uniform(shape, dtype=tf.float32)
    found.drawn += 1
    seed = tf.random.experimental.stateless_fold_in(found.seed, found.drawn)
    return tf.random.stateless_uniform(shape, seed, dtype=tf.float32)


class PatchDropout(Layer):
    """Leaves out a share of each image's patches, at random, where `noise_from` says so; an
    identity elsewhere (Liu et al. 2022, arXiv:2208.07220; timm's layer of that name). Tokens before
    the patches stay.

    Args:
        prefix: tokens before the patches.
    """

    def __init__(self, prefix: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prefix = prefix

    def call(self, tokens: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(batch, n, dim) -> (batch, kept, dim), in another order."""
        found = _noise.get()
        if not training or found is None or not found.patch_dropout:
            return tokens
        patches = tokens[:, self.prefix :]
        kept = max(1, int(patches.shape[1] * (1.0 - found.patch_dropout)))
        places = tf.math.top_k(uniform((tf.shape(tokens)[0], patches.shape[1])), kept).indices
        chosen = tf.gather(patches, places, batch_dims=1)
        return tf.concat([tokens[:, : self.prefix], chosen], axis=1) if self.prefix else chosen
