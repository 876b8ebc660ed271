"""The forward pass of a folded Vision Transformer, as a TFLite graph."""

from __future__ import annotations

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.parameters import vit_num_read_tokens
from vit_convert.architectures.vit.rotary import rotary_tables
from vit_convert.exporters.tflite.builder import Tensor
from vit_convert.exporters.tflite.lowering.attention import (
    Rotary,
    attention_pool,
    self_attention,
)
from vit_convert.exporters.tflite.lowering.layers import Lowering

# relative position bias -> the weight that is added to the scores of a module
_BIASES = {
    "none": "",
    "blocks": "{attn}.relative_position_bias",
    "shared": "rel_pos_bias.relative_position_bias",
}


def lower(g: Lowering, images: Tensor) -> dict[str, Tensor]:
    """Images (batch, height, width, channels) -> "features" (batch, 1, 1, dim), "logits" (batch, 1,
    1, classes) where there is a head, and "attention.0", ... (batch, heads, n, n) where they are
    outputs; or "tokens.{i}" (batch, 1, patches, dim) alone, if these are wanted.
    """
    config: ViTConfig = g.config
    blocks, points = lower_backbone(g, images, vit_num_read_tokens(config))
    x = blocks[-1]
    if g.tokens_after is not None:
        return {f"tokens.{g.tokens_after}": g.grid_tokens(x, config.num_prefix_tokens)}
    if config.final_norm:
        x = g.norm(x, "norm")
    pooled = _pool(g, x)
    if config.fc_norm:
        pooled = [g.norm(p, "fc_norm") for p in pooled]
    if config.projection:
        pooled = [g.linear(pooled[0], "projection")]
    if config.unit_features:
        pooled = [g.of_length_one(pooled[0], "unit_length")]
    if not config.num_classes:
        return {"features": _mean(g, pooled), **points}
    heads = zip(("head", "head_dist"), pooled, strict=False)
    return {"logits": _mean(g, [g.linear(p, head) for head, p in heads]), **points}


def lower_backbone(
    g: Lowering, images: Tensor, read: int | None = None
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Images (batch, height, width, channels) -> the tokens (batch, 1, n, dim) that each block
    gives, and "attention.0", ... (batch, heads, n, n) where they are outputs.

    Args:
        g: the graph.
        images: normalised, or pixels where folding made the model take these.
        read: how many tokens of the last block are read, the first ones; None for all.
    """
    config: ViTConfig = g.config
    points: dict[str, Tensor] = {}
    x = g.embed(images)
    if config.pre_norm:
        x = g.norm(x, "norm_pre")
    x = g.renamed(x, "embeddings")
    rotary = _rotary(g) if config.rotary not in ("none", "mixed") else None
    blocks = []
    for i in range(config.depth):
        # nobody reads the last block's tokens that are not pooled
        kept = x.shape[2] if i < config.depth - 1 else read or x.shape[2]
        x, weights = _block(g, x, f"blocks.{i}", kept, rotary)
        blocks.append(x)
        if weights is not None:
            points[f"attention.{i}"] = weights
    return blocks, points


def _block(
    g: Lowering,
    x: Tensor,
    block: str,
    kept: int,
    rotary: Rotary | None,
) -> tuple[Tensor, Tensor | None]:
    """Tokens (batch, 1, n, dim) -> (batch, 1, kept, dim), and the attention weights (batch, heads,
    n, n) where they are outputs. Attentions, or MLPs, that stand side by side read the same
    tokens."""
    config: ViTConfig = g.config
    maps, branches = [], []
    for norm, attn in _branches(config, block, "attn"):
        bias = _BIASES[config.rel_pos].format(attn=attn)
        normal = g.norm(x, norm) if config.norm_position == "pre" else x
        if config.rotary == "mixed":
            rotary = Rotary(g.small(f"{attn}.cosines"), g.small(f"{attn}.sines"))
        branch, weights = self_attention(g, normal, attn, queries=kept, bias=bias, rotary=rotary)
        branches.append((norm, branch))
        maps += [] if weights is None else [weights]
    with g.module(block):
        x = g.tokens(x, 0, kept, "kept")
    x = _add(g, x, branches, f"{block}.attn")
    branches = []
    for norm, mlp in _branches(config, block, "mlp"):
        normal = g.norm(x, norm) if config.norm_position == "pre" else x
        plain = config.mlp == "plain"
        branch = g.mlp(normal, mlp, config.gelu) if plain else g.swiglu(normal, mlp)
        branches.append((norm, branch))
    x = g.renamed(_add(g, x, branches, f"{block}.mlp"), block)
    with g.module(block):
        return x, g.concatenation(maps, 1, "weights") if len(maps) > 1 else next(iter(maps), None)


def _branches(config: ViTConfig, block: str, kind: str) -> list[tuple[str, str]]:
    """Norm and module of a block's attentions ("attn") or MLPs ("mlp")."""
    if config.parallel > 1:
        group = "attns" if kind == "attn" else "ffns"
        parts = [f"{block}.{group}.{j}" for j in range(config.parallel)]
        return [(f"{part}.norm", f"{part}.{kind}") for part in parts]
    return [(f"{block}.norm{1 if kind == 'attn' else 2}", f"{block}.{kind}")]


def _add(g: Lowering, x: Tensor, branches: list[tuple[str, Tensor]], place: str) -> Tensor:
    """Tokens and branches (batch, 1, n, dim), with the norms of these -> their sum; norms stand
    where they do in the model."""
    for norm, branch in branches:
        added = g.norm(branch, norm) if g.config.norm_position == "res-post" else branch
        with g.module(place):
            x = g.add(x, added)
        if g.config.norm_position == "post":
            x = g.norm(x, norm)
    return x


def _rotary(g: Lowering) -> Rotary:
    config: ViTConfig = g.config
    tables = rotary_tables(
        config.rotary,
        config.grid,
        config.head_dim,
        config.rotary_base,
        config.rotary_grid,
        config.num_prefix_tokens,
    )
    with g.scope("rotary"):
        cosines, sines = (table[None, :, None] for table in tables)
        return Rotary(g.values("cosines", cosines), g.values("sines", sines))


def _pool(g: Lowering, x: Tensor) -> list[Tensor]:
    """Tokens (batch, 1, n, dim) -> what each head reads, (batch, 1, 1, dim): one, or DeiT's two."""
    config: ViTConfig = g.config
    if config.pool == "token":
        return [g.tokens(x, i, i + 1, f"pool_{i}") for i in range(1 + config.distilled)]
    skipped = 0 if config.pool_prefix else config.num_prefix_tokens
    taken = g.tokens(x, skipped, x.shape[2], "patches")
    if config.pool == "map":
        return [attention_pool(g, taken, "attn_pool")]
    with g.scope("pool"):
        if config.pool == "token-avg":
            both = [g.tokens(x, 0, 1, "token"), g.mean(taken, 2)]
            return [g.concatenation(both, 3)]
        pooled = []
        if config.pool in ("avg", "avgmax"):
            pooled.append(g.mean(taken, 2))
        if config.pool in ("max", "avgmax"):
            pooled.append(g.maximum(taken, 2))
        return [_mean(g, pooled)]


def _mean(g: Lowering, tensors: list[Tensor]) -> Tensor:
    """The mean of one or two tensors of the same shape."""
    if len(tensors) == 1:
        return tensors[0]
    return g.mul(g.add(tensors[0], tensors[1]), g.values("half", [0.5]), "mean")
