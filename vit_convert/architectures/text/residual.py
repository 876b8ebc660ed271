"""The residual graph of a text tower."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.architectures.residual_graph import (
    AttentionModule,
    Branch,
    Embedding,
    Fused,
    Norm,
    ResidualGraph,
)
from vit_convert.architectures.text.config import TextConfig


def text_residual_graph(config: TextConfig) -> ResidualGraph:
    """See `vit_convert.architectures.residual_graph`."""
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    return ResidualGraph(
        embedding=Embedding(
            "", (1, config.context_length), position="pos_embed", table="token_embed.weight"
        ),
        branches=tuple(
            Branch(f"{b}.{layer}") for b in blocks for layer in ("attn.proj", "mlp.fc2")
        ),
        norms=tuple(_norms(config, blocks)),
        attentions=tuple(
            AttentionModule(f"{b}.attn", config.num_heads, config.head_dim) for b in blocks
        ),
        fused=tuple(Fused(f"{b}.attn.qkv", tuple(f"{b}.attn.{p}" for p in "qkv")) for b in blocks),
    )


def _norms(config: TextConfig, blocks: list[str]) -> Iterator[Norm]:
    for block in blocks:
        into = tuple(f"{block}.attn.{part}" for part in "qkv")
        yield Norm(f"{block}.norm1", "stream", config.norm_eps, into=into)
        yield Norm(f"{block}.norm2", "stream", config.norm_eps, into=(f"{block}.mlp.fc1",))
    yield Norm("norm", "stream", config.norm_eps, into=("head",) if config.out_dim else ())
