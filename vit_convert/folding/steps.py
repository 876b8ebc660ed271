"""What folding does to arrays, one step at a time, each exact in real arithmetic.

A recipe computes an array anew, in float64, for its caller to do with as it likes. A step replaces
recipes; nothing is computed before a folded array is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Recipes = dict[str, Callable[[], np.ndarray]]  # canonical name -> what computes the array


def reading(weights: Mapping[str, np.ndarray], name: str) -> Callable[[], np.ndarray]:
    """The recipe that reads an array."""
    return lambda: np.array(weights[name], np.float64)


def change(work: Recipes, name: str, function: Callable[..., np.ndarray], *others: str) -> None:
    """Let the array `name` be function(itself, *others), of what they all are now. The function may
    work in place, which spares the memory of a second array and half the time."""
    arguments = [work[each] for each in (name, *others)]
    work[name] = lambda: function(*(each() for each in arguments))


def add_patch_bias(work: Recipes, prefix: int) -> None:
    """Put the bias of the patch embedding into the positions of the patches, which follow the
    first `prefix`."""

    def with_bias(position: np.ndarray, bias: np.ndarray) -> np.ndarray:
        position[:, prefix:] += bias
        return position

    if "patch_embed.proj.bias" in work:
        change(work, "pos_embed", with_bias, "patch_embed.proj.bias")


def fold_embeddings(work: Recipes, scale: float) -> None:
    """Centre what makes the tokens over the channels, and scale it."""
    for name in ("patch_embed.proj.weight", "patch_embed.proj.bias"):
        if name in work:
            change(work, name, lambda array: _for_stream(array, scale, axis=0))
    for name in ("pos_embed", "cls_token", "dist_token", "reg_token"):
        if name in work:
            change(work, name, lambda tokens: _for_stream(tokens, scale, axis=-1))


def finish_branch(work: Recipes, linear: str, gamma: str, centre: bool, scale: float) -> None:
    """Put a LayerScale, if there is one, into the layer before it; centre its outputs over the
    channels, and scale them."""
    for leaf in ("weight", "bias"):
        name = f"{linear}.{leaf}"
        if gamma in work:
            change(work, name, _scale_outputs, gamma)
        if centre:
            change(work, name, lambda array: _for_stream(array, scale, axis=0))


def scale_outputs(work: Recipes, layer: str, scale: float, rows: int | None = None) -> None:
    """Multiply the first `rows` outputs of a linear layer or channels of a norm; or all of them."""

    def scaled(array: np.ndarray) -> np.ndarray:
        array[:rows] *= scale
        return array

    for leaf in ("weight", "bias"):
        if f"{layer}.{leaf}" in work:
            change(work, f"{layer}.{leaf}", scaled)


def absorb_norm(work: Recipes, norm: str, *linears: str) -> None:
    """Put gamma and beta of a norm into each of the linear layers that take its output."""
    for linear in linears:
        weight, bias = f"{linear}.weight", f"{linear}.bias"
        if bias in work:
            change(work, bias, lambda b, w, beta: w @ beta + b, weight, f"{norm}.bias")
        else:
            work[bias] = work[f"{norm}.bias"]
            change(work, bias, lambda beta, w: w @ beta, weight)
        change(work, weight, _scale_inputs, f"{norm}.weight")


def _scale_outputs(array: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Of a layer's weight (outputs, inputs) or bias (outputs,)."""
    array *= gamma[:, None] if array.ndim == 2 else gamma
    return array


def _scale_inputs(weight: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    weight *= gamma
    return weight


def _for_stream(array: np.ndarray, scale: float, axis: int) -> np.ndarray:
    """Centred over the channels, and scaled."""
    array -= array.mean(axis=axis, keepdims=True)
    array *= scale
    return array
