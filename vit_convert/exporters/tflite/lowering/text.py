"""The forward pass of a folded text tower, as a TFLite graph.

What takes whole numbers comes first, in forms that LiteRT's GPU accelerator takes too: the rows of
the table of tokens, and where a text ends. A delegate that leaves these to the CPU takes the rest
as one.
"""

from __future__ import annotations

import numpy as np

from vit_convert.architectures.text.config import TextConfig
from vit_convert.architectures.text.masking import earlier_only_mask
from vit_convert.exporters.tflite.builder import BATCH, Tensor
from vit_convert.exporters.tflite.lowering.attention import self_attention
from vit_convert.exporters.tflite.lowering.layers import Lowering


def lower(g: Lowering, tokens: Tensor) -> dict[str, Tensor]:
    """Tokens (batch, context) -> "features" (batch, 1, 1, dim)."""
    return encode(g, look_up(g, tokens), end_of(g, tokens))


def look_up(g: Lowering, tokens: Tensor) -> Tensor:
    """Tokens (batch, context) -> their rows of the table (batch, 1, context, dim).

    LiteRT's GPU accelerator takes a GATHER by one row of indices alone ("Only support 1D indices",
    2.3.0).
    """
    batch, context = tokens.shape
    with g.scope("embeddings"):
        if batch != BATCH:
            tokens = g.reshape(tokens, (batch * context,), "places")
        return g.rows("token_embed.weight", tokens, (batch, 1, context))


def end_of(g: Lowering, tokens: Tensor) -> Tensor | None:
    """Tokens (batch, context) -> 1 at the token that the embedding is made of, and 0 elsewhere,
    (batch, 1, 1, context); None where that is the last one."""
    config: TextConfig = g.config
    if config.pool == "last":
        return None
    batch, context = tokens.shape
    with g.scope("pool"):
        ranked = g.reshape(tokens, (batch, 1, 1, context), "tokens")
        if config.pool == "end":
            end = g.integers([[[[config.end_token]]]])
            ranked = g.cast(g.equal(ranked, end), "float32", "ends")
        place = g.reshape(g.arg_max(ranked, 3, "place"), (batch, 1, 1, 1))
        places = g.integers([[[[*range(context)]]]])
        return g.cast(g.equal(place, places), "float32", "chosen")


def encode(g: Lowering, x: Tensor, chosen: Tensor | None) -> dict[str, Tensor]:
    """Rows of the table (batch, 1, context, dim) and what `end_of` gives -> as `lower`."""
    config: TextConfig = g.config
    context = config.context_length
    with g.scope("embeddings"):
        x = g.add(x, g.small("pos_embed", (1, 1, *x.shape[2:])), "positioned")
    x = g.renamed(x, "embeddings")
    mask = None
    if config.causal:
        # in the full shape of the scores: google-ai-edge/LiteRT#8593
        shape = (1, config.num_heads, context, context)
        mask = g.values("mask", np.broadcast_to(earlier_only_mask(context), shape))
    for block in (f"blocks.{i}" for i in range(config.depth)):
        normal = g.norm(x, f"{block}.norm1")
        branch, _ = self_attention(g, normal, f"{block}.attn", queries=context, mask=mask)
        with g.module(f"{block}.attn"):
            x = g.add(x, branch)
        branch = g.mlp(g.norm(x, f"{block}.norm2"), f"{block}.mlp", config.gelu)
        with g.module(f"{block}.mlp"):
            x = g.add(x, branch)
        x = g.renamed(x, block)
    with g.scope("pool"):
        if chosen is None:
            x = g.tokens(x, context - 1, context, "last")
        else:
            x = g.batch_matmul(chosen, x, "end")
    x = g.norm(x, "norm")
    return {"features": g.linear(x, "head") if config.out_dim else x}
