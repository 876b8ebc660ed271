"""The forward pass of a folded CaiT, as a TFLite graph."""

from __future__ import annotations

import numpy as np

from vit_convert.architectures import CaiTConfig
from vit_convert.exporters.tflite.growing_graph import Tensor
from vit_convert.exporters.tflite.lowering.attention import class_attention, talking_heads_attention
from vit_convert.exporters.tflite.lowering.layers import Lowering


def lower(g: Lowering, images: Tensor) -> dict[str, Tensor]:
    """Images (batch, height, width, channels) -> "logits" (batch, 1, 1, classes), or "features"
    (batch, 1, 1, dim) where there is no head, and where they are outputs "attention.0", ... (batch,
    heads, n, n) and "class_attention.0", ... (batch, heads, 1, 1 + n); or
    "tokens.{i}" (batch, 1, patches, dim) alone, if these are wanted."""
    config: CaiTConfig = g.config
    points: dict[str, Tensor] = {}
    x = g.renamed(g.embed(images), "embeddings")
    for i in range(config.depth):
        block = f"blocks.{i}"
        branch, weights = talking_heads_attention(g, g.norm(x, f"{block}.norm1"), f"{block}.attn")
        x = _add_branches(g, x, branch, block)
        if weights is not None:
            points[f"attention.{i}"] = weights
    if g.tokens_after is not None:
        return {f"tokens.{g.tokens_after}": g.grid_tokens(x, 0)}
    patches = g.norm(x, "blocks_token_only.0.norm1")  # no block changes them
    cls = g.small("cls_token", (config.embed_dim,))
    for i in range(config.depth_token_only):
        block = f"blocks_token_only.{i}"
        normal = _first_class_token(g, patches) if i == 0 else g.norm(cls, f"{block}.norm1")
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


def _first_class_token(g: Lowering, patches: Tensor) -> Tensor:
    """The class token as the first block's norm gives it, once for each picture: (batch, 1, 1,
    dim).

    It is added to a patch times zero. That has any batch size, and no constant is concatenated,
    because AI Edge Quantizer cannot quantise one.
    """
    epsilon = g.model.epsilons["blocks_token_only.0.norm1"]

    def normalised(array: np.ndarray) -> np.ndarray:
        assert abs(array.mean()) <= 1e-6 * abs(array).max()  # the stream is centred
        return array.reshape(-1) / np.sqrt((array**2).mean() + epsilon)

    token = g.model.weights["cls_token"].changed(normalised, shape=(g.config.embed_dim,))
    with g.scope("cls_token"):
        zero = g.mul(g.tokens(patches, 0, 1), g.values("zero", [0.0]))
        return g.add(zero, g.constant("cls_token/normal", token.shape, token.array))
