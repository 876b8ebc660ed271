"""Patch dropout leaves out patches, and only where a training asks for it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from vit_convert.models.layers.noise import PatchDropout, noise_from

SEED = tf.constant([3, 5])


def tokens() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4, 13, 6)).astype(np.float32)


@pytest.mark.parametrize(("prefix", "share", "kept"), [(0, 0.5, 6), (2, 0.3, 7), (1, 0.95, 1)])
def test_it_keeps_a_share_of_the_patches_and_all_other_tokens(
    prefix: int, share: float, kept: int
) -> None:
    given, layer = tokens(), PatchDropout(prefix)
    with noise_from(SEED, share):
        found = layer(given, training=True).numpy()
        other = layer(given, training=True).numpy()
    assert found.shape == (4, prefix + kept, 6)
    assert not np.array_equal(found, other)
    np.testing.assert_array_equal(found[:, :prefix], given[:, :prefix])
    places = []
    for image, chosen in zip(given[:, prefix:], found[:, prefix:], strict=True):
        same = (chosen[:, None] == image[None]).all(axis=2)
        assert (same.sum(axis=1) == 1).all()
        assert same.sum(axis=0).max() == 1  # none of them twice
        places.append(frozenset(same.argmax(axis=1)))
    assert kept == 1 or len(set(places)) > 1  # each image has its own


def test_the_same_seed_leaves_out_the_same() -> None:
    layer = PatchDropout(1)
    found = []
    for _ in range(2):
        with noise_from(SEED, 0.5):
            found.append(layer(tokens(), training=True).numpy())
    np.testing.assert_array_equal(*found)


def test_it_is_an_identity_elsewhere() -> None:
    given, layer = tokens(), PatchDropout(1)
    np.testing.assert_array_equal(layer(given, training=True), given)
    with noise_from(SEED, 0.5):
        np.testing.assert_array_equal(layer(given, training=False), given)
    with noise_from(SEED):
        np.testing.assert_array_equal(layer(given, training=True), given)
