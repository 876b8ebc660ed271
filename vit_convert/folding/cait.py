"""Folding a CaiT."""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures import CaiTConfig
from vit_convert.folding.steps import (
    Recipes,
    absorb_norm,
    add_patch_bias,
    centre_embeddings,
    finish_branch,
    scale_query,
)


def fold_cait(config: CaiTConfig, work: Recipes) -> CaiTConfig:
    """Replace the recipes of a CaiT by those of the folded one, whose configuration is returned."""
    folded = replace(config, folded=True, qkv_bias=True)
    dim, scale = config.embed_dim, config.head_dim**-0.5
    add_patch_bias(work, prefix=0)
    centre_embeddings(work)
    for i in range(config.depth):
        absorb_norm(work, f"blocks.{i}.norm1", f"blocks.{i}.attn.qkv")
        scale_query(work, f"blocks.{i}.attn.qkv", scale, rows=dim)
    for i in range(config.depth_token_only):
        attn = f"blocks_token_only.{i}.attn"
        absorb_norm(work, f"blocks_token_only.{i}.norm1", *(f"{attn}.{part}" for part in "qkv"))
        scale_query(work, f"{attn}.q", scale, rows=dim)
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    blocks += [f"blocks_token_only.{i}" for i in range(config.depth_token_only)]
    for block in blocks:
        finish_branch(work, f"{block}.attn.proj", f"{block}.gamma_1", centre=True)
        absorb_norm(work, f"{block}.norm2", f"{block}.mlp.fc1")
        finish_branch(work, f"{block}.mlp.fc2", f"{block}.gamma_2", centre=True)
    if folded.folds_final_norm:
        absorb_norm(work, "norm", "head")
    return folded
