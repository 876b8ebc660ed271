"""Passes over how pictures become tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vit_convert.folding.model import FoldedModel, Weight

TOKENS = "tokens"  # the constant that is added to all tokens, (1, tokens, channels)


def pixels_into_patches(model: FoldedModel) -> FoldedModel:
    """Let the patch embedding take pixels in 0..255.

    Given:
        patches = W ((pixels / 255 - mean) / std) + b, by a convolution without padding.
    Result:
        patches = (W / (255 std)) pixels + (b - sum(W mean / std)).
    """
    patches = model.graph.embedding.patches
    mean, std = (
        np.array(values).reshape(1, -1, 1, 1)
        for values in (model.spec.preprocessing.mean, model.spec.preprocessing.std)
    )
    weight = model.weights[f"{patches}.weight"]
    shift = weight.changed(
        lambda array: -(array * (mean / std)).sum(axis=(1, 2, 3)), shape=weight.shape[:1]
    )
    bias = model.weights.get(f"{patches}.bias")
    changed = {
        f"{patches}.weight": weight.changed(lambda array: array / (255 * std)),
        f"{patches}.bias": shift if bias is None else bias.changed(np.add, shift),
    }
    return replace(model.having(changed), pixels=True)


def tokens_into_positions(model: FoldedModel) -> FoldedModel:
    """Make one constant of all that is added to the tokens before the first block.

    Given:
        prefix tokens, positions of all tokens or of some, and the bias of the patch embedding, if
        no norm follows it.
    Result:
        TOKENS (1, prefix + patches, channels): each prefix token with its own position; the
        position of each patch with the bias. The patches' own values are to be added to zeros
        before them. A model with none of these but the bias keeps it where it is, and so does one
        that has words its positions.
    """
    embedding = model.graph.embedding
    rows, columns = embedding.grid
    bias_name = "" if embedding.norm else f"{embedding.patches}.bias"
    if not embedding.patches or not (embedding.prefix or embedding.position):
        return model
    weight = model.weights[f"{embedding.patches}.weight"]
    counts = [token.count for token in embedding.prefix]
    shape = (1, sum(counts) + rows * columns, weight.shape[0])
    positioned = [np.full(token.count, token.positioned) for token in embedding.prefix]
    places = np.flatnonzero(np.concatenate([*positioned, np.full(rows * columns, True)]))
    parts = [model.weights[token.name] for token in embedding.prefix]
    position, bias = model.weights.get(embedding.position), model.weights.get(bias_name)

    def compute() -> np.ndarray:
        tokens = np.zeros(shape)
        start = 0
        for part, count in zip(parts, counts, strict=True):
            tokens[:, start : start + count] = part.compute()
            start += count
        if position is not None:
            tokens[:, places] += position.compute()
        if bias is not None:
            tokens[:, start:] += bias.compute()
        return tokens

    gone = [embedding.position, bias_name, *(token.name for token in embedding.prefix)]
    return model.having({TOKENS: Weight(shape, compute)}, gone)
