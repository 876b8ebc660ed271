"""Attention, as operations of a TFLite graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vit_convert.exporters.tflite.builder import Tensor
from vit_convert.exporters.tflite.lowering.layers import Lowering
from vit_convert.folding import Weight

# XNNPACK, 196 tokens, two threads: 0.04 against 0.09 ms with 4 heads, 0.15 against 0.10 with 6
_FEW_HEADS = 4


@dataclass(frozen=True)
class Rotary:
    """Constants of a rotary position embedding, (1, n, 1 or heads, channels of a head) each:
    cosines, and signed sines; see `vit_convert.architectures.vit.rotary`."""

    cosines: Tensor
    sines: Tensor


def self_attention(
    g: Lowering,
    x: Tensor,
    attn: str,
    *,
    queries: int,
    bias: str = "",
    mask: Tensor | None = None,
    rotary: Rotary | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        g: the graph.
        x: tokens (batch, 1, n, dim).
        attn: the module.
        queries: how many tokens ask, the first ones. Of the others only the weights are computed,
            and only where attention maps are outputs.
        bias: the weight that is added to the scores, (1, heads, n, n); "" for none.
        mask: another tensor that is added to them, where all tokens ask.
        rotary: turns q and k.

    Returns:
        tokens (batch, 1, queries, dim); the weights (batch, heads, n, n) where they are outputs.
    """
    count = x.shape[2]
    k = _heads(g, g.linear(x, f"{attn}.k"), f"{attn}.k_norm", rotary, (0, 2, 3, 1))
    v = _heads(g, g.linear(x, f"{attn}.v"), "", None, (0, 2, 1, 3))

    def weights_of(first: int) -> Tensor:
        turning = rotary if first == count else None  # the first tokens are no patches
        q = g.linear(g.tokens(x, 0, first), f"{attn}.q")
        q = _heads(g, q, f"{attn}.q_norm", turning, (0, 2, 1, 3))
        added = g.score_bias(bias, first) if bias else mask
        with g.module(attn):
            scores = g.batch_matmul(q, k, "scores")
            if added is not None:
                scores = g.add(scores, added, "biased")
            return g.softmax(scores, "weights")

    weights = weights_of(queries)
    every = None
    if g.attention:
        every = output_copy(g, weights) if queries == count else weights_of(count)
    return _attended(g, weights, v, attn), every


def talking_heads_attention(g: Lowering, x: Tensor, attn: str) -> tuple[Tensor, Tensor | None]:
    """Self-attention whose heads are mixed before and after the softmax (Shazeer et al. 2020,
    arXiv:2003.02436): tokens (batch, 1, n, dim) -> the same, and the weights (batch, heads, n, n)
    where they are outputs."""
    q = _heads(g, g.linear(x, f"{attn}.q"), "", None, (0, 2, 1, 3))
    k = _heads(g, g.linear(x, f"{attn}.k"), "", None, (0, 2, 3, 1))
    v = _heads(g, g.linear(x, f"{attn}.v"), "", None, (0, 2, 1, 3))
    with g.module(attn):
        scores = g.batch_matmul(q, k, "scores")
    mixed = _mix_heads(g, scores, f"{attn}.proj_l")
    with g.module(attn):
        weights = g.softmax(mixed, "weights")
    weights = _mix_heads(g, weights, f"{attn}.proj_w")
    every = output_copy(g, weights) if g.attention else None
    return _attended(g, weights, v, attn), every


def class_attention(g: Lowering, both: Tensor, attn: str) -> tuple[Tensor, Tensor | None]:
    """Attention in which the first token alone asks (Touvron et al. 2021, arXiv:2103.17239).

    Args:
        g: the graph.
        both: class token and patches, normalised, (batch, 1, 1 + n, dim).
        attn: the module.

    Returns:
        class token (batch, 1, 1, dim); the weights (batch, heads, 1, 1 + n) where they are outputs.
    """
    q = _heads(g, g.linear(g.tokens(both, 0, 1), f"{attn}.q"), "", None, (0, 2, 1, 3))
    k = _heads(g, g.linear(both, f"{attn}.k"), "", None, (0, 2, 3, 1))
    v = _heads(g, g.linear(both, f"{attn}.v"), "", None, (0, 2, 1, 3))
    with g.module(attn):
        weights = g.softmax(g.batch_matmul(q, k, "scores"), "weights")
    every = output_copy(g, weights) if g.attention else None
    return _attended(g, weights, v, attn), every


def attention_pool(g: Lowering, x: Tensor, pool: str) -> Tensor:
    """Attention of one learned query, which is folded into the keys (Zhai et al. 2022,
    arXiv:2106.04560): tokens (batch, 1, n, dim) -> (batch, 1, 1, dim)."""
    batch, _, n, dim = x.shape
    heads = g.model.weights[f"{pool}.scores.weight"].shape[0]
    v = _heads(g, g.linear(x, f"{pool}.v"), "", None, (0, 2, 1, 3), heads)
    scores = g.linear(x, f"{pool}.scores")
    with g.module(pool):
        scores = g.transpose(scores, (0, 3, 1, 2))
        mixed = g.batch_matmul(g.softmax(scores, "weights"), v, "attended")
        mixed = g.reshape(mixed, (batch, 1, 1, dim), "merged")
    assert scores.shape[1:] == (heads, 1, n)
    y = g.linear(mixed, f"{pool}.proj")
    branch = g.mlp(g.norm(y, f"{pool}.norm"), f"{pool}.mlp", g.config.gelu)
    with g.module(pool):
        return g.add(y, branch)


def output_copy(g: Lowering, x: Tensor) -> Tensor:
    """The same values in a tensor of their own: what is an output must not be read on
    (google-ai-edge/LiteRT#8599)."""
    return g.mul(x, g.values("one", [1.0]), "output")


def _heads(
    g: Lowering,
    x: Tensor,
    norm: str,
    rotary: Rotary | None,
    axes: tuple[int, ...],
    heads: int | None = None,
) -> Tensor:
    """(batch, 1, n, dim) -> (batch, n, heads, d), normalised and turned, and its axes in an
    order; as many heads as the blocks have by default."""
    batch, _, n, dim = x.shape
    heads = heads or g.config.num_heads
    with g.scope(x.name):
        y = g.reshape(x, (batch, n, heads, dim // heads), "heads")
        if norm and g.has(f"{norm}.weight"):
            y = g.norm(y, norm)
        if rotary is not None:
            y = _turned(g, y, rotary)
        return g.transpose(y, axes)


def _turned(g: Lowering, x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864): (batch, n, heads, d) -> the
    same shape."""
    d = x.shape[3]
    halves = [g.slice(x, 3, d // 2, d, "second"), g.slice(x, 3, 0, d // 2, "first")]
    swapped = g.concatenation(halves, 3, "swapped")
    turned = g.mul(swapped, rotary.sines, "sines")
    return g.add(g.mul(x, rotary.cosines, "cosines"), turned, "turned")


def _attended(g: Lowering, weights: Tensor, v: Tensor, attn: str) -> Tensor:
    """(batch, heads, queries, n), (batch, heads, n, d) -> (batch, 1, queries, heads * d),
    projected."""
    batch, heads, queries, _ = weights.shape
    with g.module(attn):
        mixed = g.batch_matmul(weights, v, "attended")
        shape = (batch, 1, queries, heads * v.shape[3])
        mixed = g.reshape(g.transpose(mixed, (0, 2, 1, 3)), shape, "merged")
    if f"{attn}.norm" in g.model.epsilons:
        mixed = g.norm(mixed, f"{attn}.norm")
    return g.linear(mixed, f"{attn}.proj")


def _mix_heads(g: Lowering, x: Tensor, layer: str) -> Tensor:
    """A linear layer over the heads: (batch, heads, n, m) -> the same shape.

    Few heads are mixed by depthwise convolutions, one for each head that comes out, whose filter is
    the same for all m channels, is as high as there are heads, and dilated to reach from head to
    head. They read memory in its order, where a linear layer needs a transpose before and after it.
    The n queries are (rows, columns), because runtimes share out the rows among their threads.
    """
    batch, heads, n, m = x.shape
    weight, bias = g.model.weights[f"{layer}.weight"], g.model.weights.get(f"{layer}.bias")
    if heads > _FEW_HEADS:
        # no name that ends in .weight: too small to be quantised
        kernel = _constant(g, f"{layer}.mixing", weight)
        shift = _constant(g, f"{layer}.bias", bias) if bias else None
        with g.module(layer):
            last = g.transpose(x, (0, 2, 3, 1), "last")
            return g.transpose(g.fully_connected(last, kernel, shift), (0, 3, 1, 2))
    rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
    with g.module(layer):
        columns = g.reshape(x, (batch, heads * rows, n // rows, m), "rows")
        mixed = [
            g.depthwise_conv_2d(
                columns,
                _constant(g, f"{layer}.weight/{head}", _filter_of(weight, head, m)),
                _constant(g, f"{layer}.bias/{head}", _repeated(bias, head, m))
                if bias
                else g.zeros(m),
                rows,
            )
            for head in range(heads)
        ]
        return g.reshape(g.concatenation(mixed, 1), (batch, heads, n, m))


def _constant(g: Lowering, name: str, weight: Weight) -> Tensor:
    return g.constant(name, weight.shape, weight.array)


def _filter_of(weight: Weight, head: int, channels: int) -> Weight:
    """(heads, heads) -> (1, heads, 1, channels), of one head that comes out."""
    shape = (1, weight.shape[1], 1, channels)
    return weight.changed(
        lambda array: np.broadcast_to(array[head][None, :, None, None], shape), shape=shape
    )


def _repeated(bias: Weight, head: int, channels: int) -> Weight:
    """(heads,) -> (channels,), of one head that comes out."""
    return bias.changed(lambda array: np.full(channels, array[head]), shape=(channels,))
