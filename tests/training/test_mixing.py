"""Mixup and CutMix mix with shares that are drawn from Beta(alpha, alpha), for any alpha."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from vit_convert.training.mixing import BatchNoise
from vit_convert.training.recipe import Recipe

BATCH, STEPS = 32, 60


@pytest.mark.parametrize("alpha", [0.4, 1.0, 4.0])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_shares_are_those_of_the_beta_distribution(kind: str, alpha: float) -> None:
    noise = tf.function(BatchNoise(Recipe(flip=False).but({kind: alpha})))
    # picture i is i everywhere, and its class is i
    images = np.broadcast_to(
        np.arange(BATCH, dtype=np.float32)[:, None, None, None], (BATCH, 24, 24, 3)
    )
    shares = []
    for step in range(STEPS):
        mixed, targets = noise(tf.constant(images), tf.eye(BATCH), tf.constant([step, 7], tf.int32))
        targets = targets.numpy()
        np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
        shares += [t[i] for i, t in enumerate(targets) if t[i] < 0.9999]  # others meet themselves
        # pictures are mixed as their targets are; CutMix's by whole pixels
        found, expected = mixed.numpy().mean(axis=(1, 2, 3)), targets @ np.arange(BATCH)
        np.testing.assert_allclose(found, expected, atol=1e-3 if kind == "mixup" else 0.1 * BATCH)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
