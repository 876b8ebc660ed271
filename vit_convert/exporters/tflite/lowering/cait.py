"""The forward pass of a folded CaiT, as a TFLite graph."""

from __future__ import annotations

import numpy as np

from vit_convert.architectures import CaiTConfig
from vit_convert.exporters.tflite.builder import Tensor
from vit_convert.exporters.tflite.lowering.attention import class_attention, talking_heads_attention
from vit_convert.exporters.tflite.lowering.layers import Lowering


def lower(g: Lowering, images: Tensor) -> dict[str, Tensor]:
    """Images (batch, height, width, channels) -> "logits" (batch, 1, 1, classes), or "features"
    (batch, 1, 1, dim) where there is no head, and where they are outputs "attention.0", ... (batch,
    heads, n, n) and "class_attention.0", ... (batch, heads, 1, 1 + n)."""
    config: CaiTConfig = g.config
    points: dict[str, Tensor] = {}
    x = g.renamed(g.embed(images), "embeddings")
    for i in range(config.depth):
        block = f"blocks.{i}"
        branch, weights = talking_heads_attention(g, g.norm(x, f"{block}.norm1"), f"{block}.attn")
        x = _add_branches(g, x, branch, block)
        if weights is not None:
            points[f"attention.{i}"] = weights
    both = _with_class_token(g, x)
    with g.module("blocks_token_only.0"):
        patches = g.tokens(both, 1, both.shape[2], "patches")  # no block changes them
    cls = g.small("cls_token", (config.embed_dim,))
    for i in range(config.depth_token_only):
        block = f"blocks_token_only.{i}"
        if i > 0:
            normal = g.norm(cls, f"{block}.norm1")
            with g.module(block):
                both = g.concatenation([normal, patches], 2, "tokens")
        branch, weights = class_attention(g, both, f"{block}.attn")
        cls = _add_branches(g, cls, branch, block)
        if weights is not None:
            points[f"class_attention.{i}"] = weights
    # The last norm acts on each token alone, so the class token is all that needs it.
    cls = g.norm(cls, "norm")
    if not config.num_classes:
        return {"features": cls, **points}
    return {"logits": g.linear(cls, "head"), **points}


def _add_branches(g: Lowering, x: Tensor, attended: Tensor, block: str) -> Tensor:
    """Add what attention gives to tokens (batch, 1, n, dim), then what the MLP makes of the sum."""
    with g.module(f"{block}.attn"):
        x = g.add(attended, x)
    hidden = g.mlp(g.norm(x, f"{block}.norm2"), f"{block}.mlp", g.config.gelu)
    with g.module(f"{block}.mlp"):
        return g.renamed(g.add(x, hidden), block)


def _with_class_token(g: Lowering, patches: Tensor) -> Tensor:
    """Patches (batch, 1, n, dim) -> class token and patches, normalised: (batch, 1, 1 + n, dim)."""
    dim, count = g.config.embed_dim, patches.shape[2] + 1
    token = g.model.weights["cls_token"]

    def first(array: np.ndarray) -> np.ndarray:
        rows = np.zeros((1, 1, count, dim))
        rows[0, 0, 0] = array.reshape(dim)
        return rows

    shape = (1, 1, count, dim)
    with g.scope("cls_token"):
        row = g.constant("cls_token/row", shape, token.changed(first, shape=shape).array)
        both = g.add(g.pad(patches, 2, 1), row)
    return g.norm(both, "blocks_token_only.0.norm1")
