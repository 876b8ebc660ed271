"""AdamW is PyTorch's; what is not finite changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import torch

from vit_convert.training.optimizer import AdamW
from vit_convert.training.parameter_groups import ParameterGroup
from vit_convert.training.recipe import Recipe

RECIPE = Recipe(weight_decay=0.3, epsilon=1e-3, clip_norm=1.5, ema=0.9)
GROUPS = (ParameterGroup(1.0, True), ParameterGroup(0.25, False))


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 5), (4,))]


def test_steps_are_pytorchs() -> None:
    ours = [tf.Variable(a) for a in arrays(0)]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in arrays(0)]
    optimizer = AdamW(ours, GROUPS, RECIPE)
    torchs = torch.optim.AdamW(
        [
            {"params": [theirs[0]], "lr": 0.01, "weight_decay": 0.3},
            {"params": [theirs[1]], "lr": 0.0025, "weight_decay": 0.0},
        ],
        eps=1e-3,
    )
    apply = tf.function(optimizer.apply)
    for step in range(1, 6):
        gradients = arrays(step)
        apply([tf.constant(g) for g in gradients], tf.constant(0.01), tf.constant(float(step)))
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient)
        torch.nn.utils.clip_grad_norm_(theirs, 1.5)
        torchs.step()
        for variable, parameter in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(variable.numpy(), parameter.detach().numpy(), rtol=2e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_changes_nothing(value: float) -> None:
    ours = [tf.Variable(a) for a in arrays(0)]
    optimizer = AdamW(ours, GROUPS, RECIPE)
    optimizer.apply([tf.constant(g) for g in arrays(1)], tf.constant(0.01), tf.constant(1.0))
    slots = [slot for found in optimizer.slots.values() for slot in found]
    before = [v.numpy() for v in (*ours, *slots)]
    bad = arrays(2)
    bad[1][2] = value
    _, finite = optimizer.apply([tf.constant(g) for g in bad], tf.constant(0.01), tf.constant(2.0))
    assert not finite
    for variable, old in zip((*ours, *slots), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


def test_the_average_follows() -> None:
    ours = [tf.Variable(a) for a in arrays(0)]
    optimizer = AdamW(ours, GROUPS, replace(RECIPE, ema=0.5))
    mean = arrays(0)[0]
    for step in (1.0, 2.0, 30.0):
        optimizer.apply([tf.constant(g) for g in arrays(3)], tf.constant(0.1), tf.constant(step))
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * ours[0].numpy()
    np.testing.assert_allclose(optimizer.slots["ema"][0].numpy(), mean, rtol=1e-5)
