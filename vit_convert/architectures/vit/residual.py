"""The residual graph of a Vision Transformer."""

from __future__ import annotations

from collections.abc import Iterator

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


def residual_graph(config: ViTConfig) -> ResidualGraph:
    """See `vit_convert.architectures.residual_graph`."""
    attentions = tuple(_attention(config, name) for _, name, _ in _places(config, "attn"))
    pool = _attention(config, "attn_pool", inside=True) if config.pool == "map" else None
    tables = [a.name for a in attentions] if config.rel_pos == "blocks" else []
    return ResidualGraph(
        embedding=_embedding(config),
        branches=tuple(_branches(config)),
        norms=tuple(_norms(config)),
        attentions=attentions,
        fused=tuple(_fused(config)),
        only_norms_read=_only_norms_read(config),
        relative_position=("rel_pos_bias",) if config.rel_pos == "shared" else tuple(tables),
        attention_pool=pool,
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


def _attention(config: ViTConfig, name: str, inside: bool = False) -> AttentionModule:
    return AttentionModule(
        name,
        config.num_heads,
        config.head_dim,
        qk_norm=config.qk_norm and not inside,
        rotary=config.rotary != "none",
        turns_neighbours=config.rotary == "eva02",
    )


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
    )


def _branches(config: ViTConfig) -> Iterator[Branch]:
    after = config.norm_position == "res-post"
    for kind, layer in (("attn", "proj"), ("mlp", "fc2")):
        for _, module, scale in _places(config, kind):
            yield Branch(f"{module}.{layer}", scale if config.layer_scale else "", after)


def _norms(config: ViTConfig) -> Iterator[Norm]:
    eps, pre = config.norm_eps, config.norm_position == "pre"
    reads: Reads = "branch" if config.norm_position == "res-post" else "stream"
    if config.pre_norm:
        yield Norm("norm_pre", "embedding", eps)
    for norm, attn, _ in _places(config, "attn"):
        yield Norm(norm, reads, eps, tuple(f"{attn}.{part}" for part in "qkv") if pre else ())
        if config.qk_norm:
            yield Norm(f"{attn}.q_norm", "inside", eps)
            yield Norm(f"{attn}.k_norm", "inside", eps)
        if config.attn_norm:
            yield Norm(f"{attn}.norm", "inside", eps, (f"{attn}.proj",))
    for norm, mlp, _ in _places(config, "mlp"):
        first = ("fc1",) if config.mlp == "plain" else ("fc1_g", "fc1_x")
        yield Norm(norm, reads, eps, tuple(f"{mlp}.{layer}" for layer in first) if pre else ())
        if config.mlp_norm:
            yield Norm(f"{mlp}.norm", "inside", eps, (f"{mlp}.fc2",))
    heads = tuple(("head", "head_dist")[: 1 + config.distilled]) if config.num_classes else ()
    if config.final_norm:
        into: tuple[str, ...] = ()
        if config.pool == "map":
            into = ("attn_pool.k", "attn_pool.v")
        elif config.pool in ("token", "avg") and not config.fc_norm:
            into = heads
        yield Norm("norm", "stream", eps, into)
    if config.pool == "map":
        yield Norm("attn_pool.norm", "inside", eps, ("attn_pool.mlp.fc1",))
    if config.fc_norm:
        reads = "inside" if config.final_norm else "stream"
        yield Norm("fc_norm", reads, eps, heads)


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
