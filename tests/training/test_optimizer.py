"""AdamW is PyTorch's; what is not finite changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import torch

from vit_convert.training.muon import direction
from vit_convert.training.optimizer import Optimizer
from vit_convert.training.parameter_groups import ParameterGroup
from vit_convert.training.recipe import OptimizerName, Recipe

RECIPE = Recipe(weight_decay=0.3, epsilon=1e-3, clip_norm=1.5, ema=0.9)
GROUPS = (ParameterGroup(1.0, True), ParameterGroup(0.25, False))


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 5), (4,))]


def test_steps_are_pytorchs() -> None:
    ours = [tf.Variable(a) for a in arrays(0)]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in arrays(0)]
    optimizer = Optimizer(ours, GROUPS, RECIPE)
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
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_what_is_not_finite_changes_nothing(value: float, name: OptimizerName) -> None:
    ours = [tf.Variable(a) for a in arrays(0)]
    groups = (replace(GROUPS[0], matrices=1), GROUPS[1])
    optimizer = Optimizer(ours, groups, replace(RECIPE, optimizer=name))
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
    optimizer = Optimizer(ours, GROUPS, replace(RECIPE, ema=0.5))
    mean = arrays(0)[0]
    for step in (1.0, 2.0, 30.0):
        optimizer.apply([tf.constant(g) for g in arrays(3)], tf.constant(0.1), tf.constant(step))
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * ours[0].numpy()
    np.testing.assert_allclose(optimizer.slots["ema"][0].numpy(), mean, rtol=1e-5)


def muons_arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((20, 17), (16, 21), (5,))]


def test_muons_steps_are_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32: PyTorch's rounds to bfloat16 inside."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)
    recipe = replace(RECIPE, optimizer="muon", clip_norm=0.0)
    ours = [tf.Variable(a) for a in muons_arrays(0)]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.T.copy())) for a in muons_arrays(0)]
    groups = (ParameterGroup(1.0, True, 1), ParameterGroup(0.25, True, 1), ParameterGroup(1, False))
    optimizer = Optimizer(ours, groups, recipe)
    torchs = torch.optim.Muon(
        [{"params": [theirs[0]], "lr": 0.01}, {"params": [theirs[1]], "lr": 0.0025}],
        weight_decay=0.3,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW([theirs[2]], lr=0.01, weight_decay=0.0, eps=1e-3)
    apply = tf.function(optimizer.apply)
    for step in range(1, 6):
        gradients = muons_arrays(step)
        apply([tf.constant(g) for g in gradients], tf.constant(0.01), tf.constant(float(step)))
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient.T.copy())
        torchs.step()
        adamw.step()
    for variable, parameter in zip(ours, theirs, strict=True):
        expected = parameter.detach().numpy().T
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_muon_makes_queries_keys_and_values_orthogonal_each_by_itself() -> None:
    gradient = muons_arrays(0)[1]  # (16, 21)
    together = direction(tf.constant(gradient), tf.constant(gradient), 3).numpy()
    for part in range(3):
        columns = slice(7 * part, 7 * part + 7)
        alone = direction(tf.constant(gradient[:, columns]), tf.constant(gradient[:, columns]), 1)
        np.testing.assert_allclose(together[:, columns], alone.numpy(), rtol=1e-6)
        found = np.linalg.svd(together[:, columns], compute_uv=False) / (0.2 * 4)
        assert 0.6 < found.min() <= found.max() < 1.25
