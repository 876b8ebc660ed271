"""The pass over norms and the linear layers behind them."""

from __future__ import annotations

import numpy as np

from vit_convert.folding.model import FoldedModel, Weight


def norms_into_linears(model: FoldedModel) -> FoldedModel:
    """Move gamma and beta of each norm into the linear layers that take its output.

    Given:
        y = W (gamma * n + beta) + b, where nothing else takes gamma * n + beta. An RMSNorm has no
        beta.
    Result:
        y = (W gamma) n + (W beta + b); gamma and beta are gone, and the layer has a bias if there
        was a beta.
    """
    changed: dict[str, Weight] = {}
    gone: list[str] = []
    for norm in model.graph.norms:
        if not norm.into:
            continue
        gamma = model.weights[f"{norm.name}.weight"]
        beta = model.weights.get(f"{norm.name}.bias")
        for linear in norm.into:
            weight, bias = model.weights[f"{linear}.weight"], model.weights.get(f"{linear}.bias")
            changed[f"{linear}.weight"] = weight.changed(_scale_columns, gamma)
            if beta is None:
                continue
            changed[f"{linear}.bias"] = (
                beta.changed(_product, weight, shape=weight.shape[:1])
                if bias is None
                else bias.changed(_product_added, weight, beta)
            )
        gone += [f"{norm.name}.weight", f"{norm.name}.bias"]
    return model.having(changed, gone)


def _scale_columns(weight: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    weight *= gamma
    return weight


def _product(beta: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ beta


def _product_added(bias: np.ndarray, weight: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return weight @ beta + bias
