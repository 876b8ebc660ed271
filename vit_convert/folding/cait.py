"""Folding a CaiT."""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures import CaiTConfig
from vit_convert.folding.steps import (
    Recipes,
    absorb_norm,
    add_patch_bias,
    finish_branch,
    fold_embeddings,
    scale_outputs,
)


def fold_cait(config: CaiTConfig, work: Recipes, stream_scale: float) -> CaiTConfig:
    """Replace the recipes of a CaiT by those of the folded one, whose configuration is returned."""
    folded = replace(config, folded=True, qkv_bias=True, stream_scale=stream_scale)
    half = config.head_dim**-0.25  # of the scores' scale, for queries and for keys
    add_patch_bias(work, prefix=0)
    fold_embeddings(work, stream_scale)
    for i in range(config.depth):
        absorb_norm(work, f"blocks.{i}.norm1", f"blocks.{i}.attn.qkv")
        scale_outputs(work, f"blocks.{i}.attn.qkv", half, rows=2 * config.embed_dim)
    for i in range(config.depth_token_only):
        attn = f"blocks_token_only.{i}.attn"
        absorb_norm(work, f"blocks_token_only.{i}.norm1", *(f"{attn}.{part}" for part in "qkv"))
        for part in "qk":
            scale_outputs(work, f"{attn}.{part}", half)
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    blocks += [f"blocks_token_only.{i}" for i in range(config.depth_token_only)]
    for block in blocks:
        finish_branch(work, f"{block}.attn.proj", f"{block}.gamma_1", True, stream_scale)
        absorb_norm(work, f"{block}.norm2", f"{block}.mlp.fc1")
        finish_branch(work, f"{block}.mlp.fc2", f"{block}.gamma_2", True, stream_scale)
    if folded.folds_final_norm:
        absorb_norm(work, "norm", "head")
    return folded
