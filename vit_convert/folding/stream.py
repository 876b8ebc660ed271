"""Passes over what writes to the residual stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from vit_convert.folding.model import FoldedModel, Weight

# GPUs of phones compute in float16, whose largest value is 65504. The square of anything above 255
# is infinite there, and a token whose mean square is infinite becomes zero; LiteRT's newer delegate
# adds in float16 too (google-ai-edge/LiteRT#9249), so that a token's squares must fit together.
# Values of some hundreds are usual in a few channels of large transformers ("massive activations",
# Sun et al. 2024, arXiv:2402.17762). A sixteenth makes room for tokens of a norm of 4090: one such
# value, or a deviation of 147 over 768 channels. It costs no operation, where dividing each token
# by its largest value would double a norm's time; a power of two, it changes no digit of float32.
# The other end: tokens of a deviation of 1/8 are normalised to 1e-3, which is float16's precision,
# of 1/32 to 4e-3, of 1/64 to 2e-2, where the GPU has subnormal numbers. One that flushes them to
# zero loses tokens below 1/4, which is why the scale is no smaller than it must be.
STREAM_SCALE = 1 / 16


def layer_scale_into_branches(model: FoldedModel) -> FoldedModel:
    """Move each LayerScale into the linear layer before it.

    Given:
        y = gamma * (W x + b)
    Result:
        y = (gamma W) x + (gamma b); gamma is gone.
    """
    changed, gone = {}, []
    for branch in model.graph.branches:
        if branch.scale:
            gamma = model.weights[branch.scale]
            for name in _leaves(model, branch.output):
                changed[name] = model.weights[name].changed(_scale_rows, gamma)
            gone.append(branch.scale)
    return model.having(changed, gone)


def centre_stream(model: FoldedModel) -> FoldedModel:
    """Let all that writes to the stream write values whose mean over the channels is zero.

    Given:
        a stream of d channels that only LayerNorms read, which subtract the mean over them:
        norm(x) = norm(x - mean(x)); or a branch whose own norm does so before the addition.
    Result:
        W <- (I - 11^T / d) W and b <- (I - 11^T / d) b for every layer that writes there, and the
        same for tokens and positions. These norms need no mean:
        norm(x) = x * rsqrt(mean(x^2) + eps).
    """
    graph = model.graph
    centring: dict[str, list[str]] = {"stream": [], "embedding": [], "branch": [], "inside": []}
    for norm in graph.norms:
        if norm.centres:
            centring[norm.reads].append(norm.name)
    embedded = bool(centring["embedding"]) and not graph.embedding.norm
    changed: dict[str, Weight] = {}
    if graph.may_be_centred or embedded:
        changed |= {
            name: model.weights[name].changed(_centred(axis)) for name, axis in _embedding(model)
        }
    for branch in graph.branches:
        if graph.may_be_centred or (branch.normalised and centring["branch"]):
            for name in _leaves(model, branch.output):
                changed[name] = model.weights[name].changed(_centred(0))
    centred = set(centring["branch"])
    centred |= set(centring["embedding"] if embedded else ())
    centred |= set(centring["stream"] if graph.may_be_centred else ())
    return replace(
        model.having(changed),
        centred_norms=frozenset(centred),
        recentred_norms=frozenset(centring["embedding"] if graph.may_be_centred else ()),
    )


def scale_stream(model: FoldedModel) -> FoldedModel:
    """Multiply the stream by STREAM_SCALE, so that the squares in a norm fit into float16.

    Given:
        a stream that only norms read, and
        x * rsqrt(mean(x^2) + eps) = s x * rsqrt(mean((s x)^2) + s^2 eps).
    Result:
        all that writes to the stream is multiplied by s; eps <- s^2 eps where a norm reads it.
    """
    graph = model.graph
    if not graph.only_norms_read:
        return model
    starts = [norm.name for norm in graph.norms if norm.reads == "embedding"]
    names = [name for name, _ in _embedding(model)]
    for layer in (*starts, *(branch.output for branch in graph.branches)):
        names += _leaves(model, layer)
    changed = {name: model.weights[name].scaled(STREAM_SCALE) for name in names}
    epsilons = {
        norm.name: norm.epsilon * STREAM_SCALE**2
        for norm in graph.norms
        if norm.reads in ("stream", "embedding")
    }
    return replace(
        model.having(changed),
        stream_scale=STREAM_SCALE,
        epsilons={**model.epsilons, **epsilons},
    )


def _leaves(model: FoldedModel, layer: str) -> list[str]:
    names = (f"{layer}.weight", f"{layer}.bias")
    return [name for name in names if name in model.weights]


def _embedding(model: FoldedModel) -> Iterator[tuple[str, int]]:
    """Names of the weights that start the stream or join it later, and the axis of their
    channels."""
    embedding = model.graph.embedding
    for name in _leaves(model, embedding.norm or embedding.patches):
        yield name, 0
    tokens = [
        embedding.table,
        embedding.position,
        *(t.name for t in embedding.prefix),
        *model.graph.late_tokens,
    ]
    for name in tokens:
        if name in model.weights:
            yield name, -1


def _scale_rows(array: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Of a layer's weight (outputs, inputs) or bias (outputs,)."""
    array *= gamma[:, None] if array.ndim == 2 else gamma
    return array


def _centred(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    def centre(array: np.ndarray) -> np.ndarray:
        array -= array.mean(axis=axis, keepdims=True)
        return array

    return centre
