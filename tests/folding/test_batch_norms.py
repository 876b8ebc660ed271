"""A batch normalisation in a convolution computes what both do in PyTorch, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_passes import VIT, close, computed, model_of
from torch.nn import functional

from vit_convert.architectures.parameters import BATCH_NORM
from vit_convert.architectures.residual_graph import BatchNorm
from vit_convert.folding import Weight
from vit_convert.folding.batch_norms import batch_norms_into_convolutions

OUTPUTS, INPUTS, EPSILON = 5, 3, 0.02


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_batch_norm_goes_into_the_convolution(before: bool, has_bias: bool) -> None:
    rng = np.random.default_rng(3)
    width, filters = (INPUTS, (1, 1)) if before else (OUTPUTS, (2, 4))
    convolution = {"c.weight": rng.standard_normal((OUTPUTS, INPUTS, *filters))}
    if has_bias:
        convolution["c.bias"] = rng.standard_normal(OUTPUTS)
    norm = {f"n.{leaf}": rng.standard_normal(width) for leaf in BATCH_NORM}
    norm["n.running_var"] = rng.uniform(0.1, 3.0, width)
    model, _ = model_of(VIT)
    given = {k: Weight(v.shape, v.copy) for k, v in (convolution | norm).items()}
    model = replace(
        model,
        graph=replace(model.graph, batch_norms=(BatchNorm("n", "c", EPSILON, before),)),
        weights=given,
    )
    found = computed(batch_norms_into_convolutions(model))
    assert set(found) == {"c.weight", "c.bias"}

    images = torch.from_numpy(rng.standard_normal((2, INPUTS, 7, 6)))
    tensors = {name: torch.from_numpy(array) for name, array in (convolution | norm).items()}

    def normalised(x: torch.Tensor) -> torch.Tensor:
        gamma, beta, mean, variance = (tensors[f"n.{leaf}"] for leaf in BATCH_NORM)
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)

    entering = normalised(images) if before else images
    expected = functional.conv2d(entering, tensors["c.weight"], tensors.get("c.bias"))
    got = functional.conv2d(
        images, *(torch.from_numpy(found[f"c.{leaf}"]) for leaf in ("weight", "bias"))
    )
    assert close((expected if before else normalised(expected)).numpy(), got.numpy())
