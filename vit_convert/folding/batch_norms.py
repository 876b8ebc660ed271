"""The pass over batch normalisations."""

from __future__ import annotations

from functools import partial

import numpy as np

from vit_convert.architectures.parameters import BATCH_NORM
from vit_convert.architectures.residual_graph import BatchNorm
from vit_convert.folding.model import FoldedModel, Weight


def batch_norms_into_convolutions(model: FoldedModel) -> FoldedModel:
    """Move each batch normalisation into the convolution beside it (Jacob et al. 2017,
    arXiv:1712.05877, section 3.2).

    Given:
        n(x) = f x + s, by the statistics of training: f = gamma / sqrt(variance + eps) and
        s = beta - f mean. Either y = n(W x + b), or y = W n(x) + b with a filter of 1 x 1.
    Result:
        y = (f W) x + (f b + s), or y = (W f) x + (W s + b); the normalisation is gone.
    """
    changed: dict[str, Weight] = {}
    gone: list[str] = []
    for norm in model.graph.batch_norms:
        factor, shift = _affine(model, norm)
        name = norm.convolution
        weight, bias = model.weights[f"{name}.weight"], model.weights.get(f"{name}.bias")
        if norm.before:
            changed[f"{name}.weight"] = weight.changed(_scale_inputs, factor)
            moved = shift.changed(_product, weight, shape=weight.shape[:1])
        else:
            changed[f"{name}.weight"] = weight.changed(_scale_outputs, factor)
            moved = shift
            bias = None if bias is None else bias.changed(np.multiply, factor)
        changed[f"{name}.bias"] = moved if bias is None else moved.changed(np.add, bias)
        gone += [f"{norm.name}.{leaf}" for leaf in BATCH_NORM]
    return model.having(changed, gone)


def _affine(model: FoldedModel, norm: BatchNorm) -> tuple[Weight, Weight]:
    """Factor and shift of a normalisation, (channels,) each."""
    gamma, beta, mean, variance = (model.weights[f"{norm.name}.{leaf}"] for leaf in BATCH_NORM)
    factor = gamma.changed(partial(_factor, norm.epsilon), variance)
    return factor, beta.changed(lambda b, f, m: b - f * m, factor, mean)


def _factor(epsilon: float, gamma: np.ndarray, variance: np.ndarray) -> np.ndarray:
    factor: np.ndarray = gamma / np.sqrt(variance + epsilon)
    return factor


def _scale_outputs(weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    weight *= factor[:, None, None, None]
    return weight


def _scale_inputs(weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    weight *= factor[:, None, None]
    return weight


def _product(shift: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight[:, :, 0, 0] @ shift
