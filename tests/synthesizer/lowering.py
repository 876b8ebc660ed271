"""The forward pass of a folded Synthesizer, as a TFLite graph."""

from __future__ import annotations

import numpy as np

from vit_convert.exporters.tflite.builder import Tensor
from vit_convert.exporters.tflite.lowering.layers import Lowering


def lower(g: Lowering, images: Tensor) -> dict[str, Tensor]:
    """Images (batch, height, width, channels) -> "logits" (batch, 1, 1, classes), or "features"
    (batch, 1, 1, dim) where there is no head."""
    x = g.renamed(g.embed(images), "embeddings")
    for i in range(g.config.depth):
        block = f"blocks.{i}"
        mixed = _mixed(g, g.linear(g.norm(x, f"{block}.norm1"), f"{block}.value"), block)
        branch = g.linear(mixed, f"{block}.proj")
        with g.module(block):
            x = g.add(x, branch, "mixed_in")
        branch = g.mlp(g.norm(x, f"{block}.norm2"), f"{block}.mlp", g.config.gelu)
        with g.module(block):
            x = g.renamed(g.add(x, branch, "out"), block)
    pooled = g.mean(g.norm(x, "norm"), 2, "pool")
    return {"logits": g.linear(pooled, "head")} if g.config.num_classes else {"features": pooled}


def _mixed(g: Lowering, values: Tensor, block: str) -> Tensor:
    """(batch, 1, n, channels) -> the same shape, by a linear layer over the tokens."""
    scores = g.model.weights[f"{block}.scores"]
    with g.module(block):
        weights = g.constant(f"{block}.weights", scores.shape, scores.changed(_softmax).array)
        by_channel = g.transpose(values, (0, 1, 3, 2), "by_channel")
        return g.transpose(g.fully_connected(by_channel, weights), (0, 1, 3, 2), "by_token")


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
