"""The pass over batch normalisations."""

from __future__ import annotations

import numpy as np

from vit_convert.folding.model import FoldedModel


def batch_norms_into_convolutions(model: FoldedModel) -> FoldedModel:
    """Move each batch normalisation into the convolution before it (Jacob et al. 2017,
    arXiv:1712.05877, section 3.2).

    Given:
        y = gamma * (W x + b - mean) / sqrt(variance + eps) + beta, with the statistics of training.
    Result:
        y = (f W) x + (f (b - mean) + beta), where f = gamma / sqrt(variance + eps); the
        normalisation is gone.
    """
    changed, gone = {}, []
    for norm in model.graph.batch_norms:
        gamma, beta, mean, variance = (
            model.weights[f"{norm.name}.{leaf}"]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        epsilon = norm.epsilon

        def factor_of(g: np.ndarray, v: np.ndarray, epsilon: float = epsilon) -> np.ndarray:
            return g / np.sqrt(v + epsilon)

        factor = gamma.changed(factor_of, variance)
        name = norm.convolution
        changed[f"{name}.weight"] = model.weights[f"{name}.weight"].changed(_scaled, factor)
        bias = model.weights.get(f"{name}.bias")
        shifted = beta.changed(lambda b, m, f: b - m * f, mean, factor)
        changed[f"{name}.bias"] = (
            shifted if bias is None else shifted.changed(lambda s, b, f: s + b * f, bias, factor)
        )
        gone += [
            f"{norm.name}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")
        ]
    return model.having(changed, gone)


def _scaled(weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    weight *= factor[:, None, None, None]
    return weight
