"""Passes over attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vit_convert.architectures.vit.relative_position import relative_position_index
from vit_convert.architectures.vit.rotary import mixed_tables, neighbours_to_halves
from vit_convert.folding.model import FoldedModel, Weight


def split_fused(model: FoldedModel) -> FoldedModel:
    """Make several linear layers of one.

    Given:
        [q, k, v] = W x + b, and the like.
    Result:
        q = W_q x + b_q, and so on: a graph needs no operation that splits.
    """
    changed, gone = {}, []
    for fused in model.graph.fused:
        for leaf in ("weight", "bias"):
            name = f"{fused.layer}.{leaf}"
            if name not in model.weights:
                continue
            weight = model.weights[name]
            rows = weight.shape[0] // len(fused.parts)
            for i, part in enumerate(fused.parts):
                changed[f"{part}.{leaf}"] = weight.changed(
                    _rows(i * rows, (i + 1) * rows), shape=(rows, *weight.shape[1:])
                )
            gone.append(name)
    return model.having(changed, gone)


def scale_into_queries_and_keys(model: FoldedModel) -> FoldedModel:
    """Move the scale of attention scores into what gives queries and keys.

    Given:
        scores = q k^T / sqrt(head_dim).
    Result:
        q and k are each multiplied by head_dim ** -0.25 where they are made: by their linear
        layers, or by the norms behind these. Half of the scale goes to each, because int8 has one
        range for both.
    """
    changed = {}
    for attention in model.graph.attentions:
        for part in ("q_norm", "k_norm") if attention.qk_norm else ("q", "k"):
            for leaf in ("weight", "bias"):
                name = f"{attention.name}.{part}.{leaf}"
                if name in model.weights:
                    changed[name] = model.weights[name].scaled(attention.head_dim**-0.25)
    return replace(model.having(changed), attention_scaled=True)


def drop_what_softmax_does_not_see(model: FoldedModel) -> FoldedModel:
    """Leave out biases that add the same number to all scores of a query.

    Given:
        softmax(s + c) = softmax(s). A bias b of the keys adds q . b to every score of the query q,
        if nothing changes the keys between their linear layer and the product: no norm, and no
        rotary position embedding. A bias of talking heads' first layer adds one number to all
        scores of a head.
    Result:
        those biases are gone.
    """
    gone = []
    for attention in model.graph.attentions:
        if not (attention.qk_norm or attention.rotary):
            gone.append(f"{attention.name}.k.bias")
        if attention.mixes_scores:
            gone.append(f"{attention.name}.proj_l.bias")
    return model.having({}, gone)


def neighbours_into_halves(model: FoldedModel) -> FoldedModel:
    """Reorder the channels of queries and keys so that the pairs that rotary position embedding
    turns are the two halves of each head.

    Given:
        pairs are neighbouring channels; scores are sums over channels, in whatever order.
    Result:
        in each head the even channels come first, then the odd ones, for q and k and their norms.
    """
    changed = {}
    for attention in model.graph.attentions:
        if not attention.turns_neighbours:
            continue
        order = neighbours_to_halves(attention.head_dim)
        starts = np.arange(attention.heads)[:, None] * attention.head_dim
        rows = (starts + order).reshape(-1)
        for part in "qk":
            for leaf in ("weight", "bias"):
                for name, index in ((part, rows), (f"{part}_norm", order)):
                    full = f"{attention.name}.{name}.{leaf}"
                    if full in model.weights:
                        changed[full] = model.weights[full].changed(_taken(index))
    return model.having(changed)


def frequencies_into_tables(model: FoldedModel) -> FoldedModel:
    """Replace learned frequencies of rotary position embedding by what they say of each token.

    Given:
        frequencies (2, blocks, heads, head_dim / 2); the places of patches do not change.
    Result:
        ATTENTION.cosines and ATTENTION.sines (1, tokens, heads, head_dim), for pairs that are a
        head's two halves; see `vit_convert.architectures.vit.rotary.mixed_tables`.
    """
    name = model.graph.rotary_frequencies
    if not name:
        return model
    frequencies, embedding = model.weights[name], model.graph.embedding
    prefix = sum(token.count for token in embedding.prefix)
    tokens = prefix + embedding.grid[0] * embedding.grid[1]

    def table(block: int, which: int) -> Callable[[np.ndarray], np.ndarray]:
        def compute(array: np.ndarray) -> np.ndarray:
            both = mixed_tables(array[:, block], embedding.grid, prefix)
            return both[which].transpose(1, 0, 2)[None]

        return compute

    changed = {}
    for i, attention in enumerate(model.graph.attentions):
        shape = (1, tokens, attention.heads, attention.head_dim)
        for which, leaf in enumerate(("cosines", "sines")):
            changed[f"{attention.name}.{leaf}"] = frequencies.changed(table(i, which), shape=shape)
    return model.having(changed, [name])


def look_up_relative_positions(model: FoldedModel) -> FoldedModel:
    """Replace each table of relative positions by what it says of each pair of tokens.

    Given:
        a table (distances, heads).
    Result:
        MODULE.relative_position_bias (1, heads, tokens, tokens).
    """
    changed, gone = {}, []
    if not model.graph.relative_position:
        return model
    index = relative_position_index(model.graph.embedding.grid)
    for module in model.graph.relative_position:
        name = f"{module}.relative_position_bias_table"
        table = model.weights[name]
        changed[f"{module}.relative_position_bias"] = table.changed(
            lambda array: array[index].transpose(2, 0, 1)[None],
            shape=(1, table.shape[1], *index.shape),
        )
        gone.append(name)
    return model.having(changed, gone)


def query_into_pooling_keys(model: FoldedModel) -> FoldedModel:
    """Make one linear layer of query and keys of attention pooling.

    Given:
        a query q that is the same for all pictures. The score of token x in a head is
        q . (K x + b) / sqrt(head_dim) = (K^T q) . x / sqrt(head_dim) + a constant, which softmax
        does not see. Weights sum to 1, so that the bias of the values is added to the result as it
        is.
    Result:
        POOL.scores (heads, channels) gives each head's score of a token; POOL.v has no bias, for it
        is in the bias of POOL.proj.
    """
    pool = model.graph.attention_pool
    if pool is None:
        return model
    heads, head_dim, name = pool.heads, pool.head_dim, pool.name
    dim = heads * head_dim
    w = {key: model.weights[f"{name}.{key}"] for key in (
        "latent", "q.weight", "q.bias", "k.weight", "v.bias", "proj.weight", "proj.bias"
    )}  # fmt: skip

    def scores() -> np.ndarray:
        query = w["q.weight"].compute() @ w["latent"].compute().reshape(dim) + w["q.bias"].compute()
        keys = w["k.weight"].compute().reshape(heads, head_dim, dim)
        return np.einsum("hd,hdc->hc", query.reshape(heads, head_dim) * head_dim**-0.5, keys)

    changed = {
        f"{name}.scores.weight": Weight((heads, dim), scores),
        f"{name}.proj.bias": w["proj.bias"].changed(
            lambda bias, weight, values: bias + weight @ values, w["proj.weight"], w["v.bias"]
        ),
    }
    gone = ("latent", "q.weight", "q.bias", "k.weight", "k.bias", "v.bias")
    return model.having(changed, [f"{name}.{key}" for key in gone])


def _rows(start: int, stop: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array[start:stop]


def _taken(index: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array[index]
