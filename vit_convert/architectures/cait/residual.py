"""The residual graph of a CaiT."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.architectures.cait.config import CaiTConfig
from vit_convert.architectures.residual_graph import (
    AttentionModule,
    Branch,
    Embedding,
    Fused,
    Norm,
    ResidualGraph,
)


def residual_graph(config: CaiTConfig) -> ResidualGraph:
    """See `vit_convert.architectures.residual_graph`."""
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    class_blocks = [f"blocks_token_only.{i}" for i in range(config.depth_token_only)]
    every = [*blocks, *class_blocks]
    return ResidualGraph(
        embedding=Embedding("patch_embed.proj", config.grid, position="pos_embed"),
        branches=tuple(
            Branch(f"{block}.{layer}", f"{block}.{scale}")
            for block in every
            for layer, scale in (("attn.proj", "gamma_1"), ("mlp.fc2", "gamma_2"))
        ),
        norms=tuple(_norms(config, every)),
        attentions=tuple(
            AttentionModule(
                f"{block}.attn", config.num_heads, config.head_dim, mixes_scores=block in blocks
            )
            for block in every
        ),
        fused=tuple(
            Fused(f"{block}.attn.qkv", tuple(f"{block}.attn.{part}" for part in "qkv"))
            for block in blocks
        ),
        late_tokens=("cls_token",),
    )


def _norms(config: CaiTConfig, blocks: list[str]) -> Iterator[Norm]:
    eps = config.norm_eps
    for block in blocks:
        yield Norm(f"{block}.norm1", "stream", eps, tuple(f"{block}.attn.{p}" for p in "qkv"))
        yield Norm(f"{block}.norm2", "stream", eps, (f"{block}.mlp.fc1",))
    yield Norm("norm", "stream", eps, ("head",) if config.num_classes else ())
