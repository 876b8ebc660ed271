"""The residual graph of a Vision Transformer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from vit_convert.architectures.residual_graph import (
    AttentionModule,
    Branch,
    Embedding,
    Fused,
    Norm,
    PrefixToken,
    Reads,
    ResidualGraph,
)
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.rotary import turns_neighbours


def residual_graph(config: ViTConfig) -> ResidualGraph:
    """See `vit_convert.architectures.residual_graph`."""
    attentions = tuple(_attention(config, name) for _, name, _ in _places(config, "attn"))
    tables = [a.name for a in attentions] if config.rel_pos == "blocks" else []
    return ResidualGraph(
        embedding=_embedding(config),
        branches=tuple(_branches(config)),
        norms=tuple(_norms(config)),
        attentions=attentions,
        fused=tuple(_fused(config)),
        only_norms_read=_only_norms_read(config),
        relative_position=("rel_pos_bias",) if config.rel_pos == "shared" else tuple(tables),
        attention_pool=_attention_pool(config) if config.pool == "map" else None,
        rotary_frequencies="rope.freqs" if config.rotary == "mixed" else "",
    )


def _places(config: ViTConfig, kind: str) -> list[tuple[str, str, str]]:
    """Norm, module and LayerScale of all attentions ("attn") or MLPs ("mlp"), block by block."""
    number = 1 if kind == "attn" else 2
    group = "attns" if kind == "attn" else "ffns"
    found = []
    for block in (f"blocks.{i}" for i in range(config.depth)):
        if config.parallel > 1:
            parts = [f"{block}.{group}.{j}" for j in range(config.parallel)]
            found += [(f"{part}.norm", f"{part}.{kind}", f"{part}.ls.gamma") for part in parts]
        else:
            found.append((f"{block}.norm{number}", f"{block}.{kind}", f"{block}.ls{number}.gamma"))
    return found


def _attention(config: ViTConfig, name: str) -> AttentionModule:
    return AttentionModule(
        name,
        config.num_heads,
        config.head_dim,
        qk_norm=config.qk_norm,
        rotary=config.rotary != "none",
        turns_neighbours=turns_neighbours(config.rotary),
    )


def _attention_pool(config: ViTConfig) -> AttentionModule:
    heads = config.pool_heads or config.num_heads
    return AttentionModule("attn_pool", heads, config.embed_dim // heads)


def _embedding(config: ViTConfig) -> Embedding:
    positioned = config.position in ("all", "class")
    tokens = (
        PrefixToken("cls_token", int(config.class_token), positioned),
        PrefixToken("dist_token", int(config.distilled), positioned),
        PrefixToken("reg_token", config.reg_tokens, config.position == "all"),
    )
    return Embedding(
        "patch_embed.proj",
        config.grid,
        tuple(token for token in tokens if token.count),
        "" if config.position == "none" else "pos_embed",
        "patch_embed.norm" if config.patch_norm else "",
    )


def _branches(config: ViTConfig) -> Iterator[Branch]:
    after = config.norm_position == "res-post"
    for kind, layer, scaled in (("attn", "proj", True), ("mlp", "fc2", config.mlp_layer_scale)):
        for _, module, scale in _places(config, kind):
            has_scale = config.layer_scale and scaled
            yield Branch(f"{module}.{layer}", scale if has_scale else "", after)


def _norms(config: ViTConfig) -> Iterator[Norm]:
    norm_of = partial(Norm, epsilon=config.norm_eps, centres=config.norm == "layer")
    pre = config.norm_position == "pre"
    reads: Reads = "branch" if config.norm_position == "res-post" else "stream"
    if config.patch_norm:
        yield norm_of("patch_embed.norm", "inside")
    if config.pre_norm:
        yield norm_of("norm_pre", "embedding")
    for norm, attn, _ in _places(config, "attn"):
        yield norm_of(norm, reads, into=tuple(f"{attn}.{part}" for part in "qkv") if pre else ())
        if config.qk_norm:
            yield norm_of(f"{attn}.q_norm", "inside")
            yield norm_of(f"{attn}.k_norm", "inside")
        if config.attn_norm:
            yield norm_of(f"{attn}.norm", "inside", into=(f"{attn}.proj",))
    for norm, mlp, _ in _places(config, "mlp"):
        first = ("fc1",) if config.mlp == "plain" else ("fc1_g", "fc1_x")
        yield norm_of(norm, reads, into=tuple(f"{mlp}.{layer}" for layer in first) if pre else ())
        if config.mlp_norm:
            yield norm_of(f"{mlp}.norm", "inside", into=(f"{mlp}.fc2",))
    heads = tuple(("head", "head_dist")[: 1 + config.distilled]) if config.num_classes else ()
    if config.projection:
        heads = ("projection",)
    elif config.unit_features:
        heads = ()
    if config.final_norm:
        into: tuple[str, ...] = ()
        if config.pool == "map":
            into = ("attn_pool.k", "attn_pool.v")
        elif config.pool in ("token", "avg") and not config.fc_norm:
            into = heads
        yield norm_of("norm", "stream", into=into)
    if config.pool == "map":
        yield norm_of("attn_pool.norm", "inside", into=("attn_pool.mlp.fc1",))
    if config.fc_norm:
        reads = "inside" if config.final_norm else "stream"
        yield norm_of("fc_norm", reads, into=heads)


def _fused(config: ViTConfig) -> Iterator[Fused]:
    for _, attn, _ in _places(config, "attn"):
        yield Fused(f"{attn}.qkv", tuple(f"{attn}.{part}" for part in "qkv"))
    if config.mlp == "swiglu-packed":
        for _, mlp, _ in _places(config, "mlp"):
            yield Fused(f"{mlp}.fc1", (f"{mlp}.fc1_g", f"{mlp}.fc1_x"))
    if config.pool == "map":
        yield Fused("attn_pool.kv", ("attn_pool.k", "attn_pool.v"))


def _only_norms_read(config: ViTConfig) -> bool:
    """A maximum over tokens, or pooling without any norm, reads the stream as it is."""
    linear_pool = config.pool in ("token", "avg")
    return config.norm_position == "pre" and (config.final_norm or (config.fc_norm and linear_pool))
