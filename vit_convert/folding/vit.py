"""Folding a Vision Transformer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.relative_position import relative_position_index
from vit_convert.architectures.vit.rotary import neighbours_to_halves
from vit_convert.folding.steps import (
    Recipes,
    absorb_norm,
    add_patch_bias,
    change,
    finish_branch,
    fold_embeddings,
    scale_outputs,
)


def fold_vit(config: ViTConfig, work: Recipes, stream_scale: float) -> ViTConfig:
    """Replace the recipes of a ViT by those of the folded one, whose configuration is returned."""
    pre = config.norm_position == "pre"
    stream_scale = stream_scale if config.centres_stream else 1.0
    folded = replace(
        config,
        folded=True,
        layer_scale=False,
        qkv_bias=config.qkv_bias or pre,
        stream_scale=stream_scale,
    )
    if config.position != "none":
        add_patch_bias(work, config.num_positioned_prefix_tokens)
    if config.position == "class":
        _place_class_token(work, config)
    if config.pre_norm or config.centres_stream:
        fold_embeddings(work, stream_scale)
    if config.pre_norm:
        scale_outputs(work, "norm_pre", stream_scale)
    if config.rel_pos == "shared":
        _look_up(work, config, "rel_pos_bias")
    for i in range(config.depth):
        for norm, attn, scale in _branches(config, f"blocks.{i}", "attn"):
            if pre:
                absorb_norm(work, norm, f"{attn}.qkv")
            _fold_attention(work, config, attn)
            finish_branch(work, f"{attn}.proj", scale, config.centres_branches, stream_scale)
        for norm, mlp, scale in _branches(config, f"blocks.{i}", "mlp"):
            if pre:
                inputs = ("fc1_g", "fc1_x") if config.mlp == "swiglu" else ("fc1",)
                absorb_norm(work, norm, *(f"{mlp}.{layer}" for layer in inputs))
            if config.mlp_norm:
                absorb_norm(work, f"{mlp}.norm", f"{mlp}.fc2")
            finish_branch(work, f"{mlp}.fc2", scale, config.centres_branches, stream_scale)
    heads = [name for name in ("head", "head_dist") if f"{name}.weight" in work]
    if folded.folds_final_norm:
        absorb_norm(work, "norm", *(["attn_pool.kv"] if config.pool == "map" else heads))
    if config.pool == "map":
        _fold_attention_pool(work, config)
    if folded.folds_fc_norm:
        absorb_norm(work, "fc_norm", *heads)
    return replace(folded, head_bias="head.bias" in work or not heads)


def _branches(config: ViTConfig, block: str, kind: str) -> list[tuple[str, str, str]]:
    """Norm, module and LayerScale of a block's attentions ("attn") or MLPs ("mlp")."""
    if config.parallel > 1:
        group = "attns" if kind == "attn" else "ffns"
        branches = [f"{block}.{group}.{j}" for j in range(config.parallel)]
        return [(f"{b}.norm", f"{b}.{kind}", f"{b}.ls.gamma") for b in branches]
    number = 1 if kind == "attn" else 2
    return [(f"{block}.norm{number}", f"{block}.{kind}", f"{block}.ls{number}.gamma")]


def _place_class_token(work: Recipes, config: ViTConfig) -> None:
    """Add its position to the class token, so that only the patches' positions remain."""

    def of_patches(position: np.ndarray) -> np.ndarray:
        return position[:, config.num_positioned_prefix_tokens :]

    change(work, "cls_token", lambda token, position: token + position[:, :1], "pos_embed")
    change(work, "pos_embed", of_patches)


def _fold_attention(work: Recipes, config: ViTConfig, attn: str) -> None:
    """The scale of the scores goes into q and k, or into the norms that follow them, half of it
    each; a table of relative positions becomes what it says of each pair of tokens; a norm goes
    into the projection."""
    half = config.head_dim**-0.25
    if config.qk_norm:
        scale_outputs(work, f"{attn}.q_norm", half)
        scale_outputs(work, f"{attn}.k_norm", half)
    else:
        scale_outputs(work, f"{attn}.qkv", half, rows=2 * config.embed_dim)
    if config.interleaved:
        _make_halves(work, config, attn)
    if config.rel_pos == "blocks":
        _look_up(work, config, attn)
    if config.attn_norm:
        absorb_norm(work, f"{attn}.norm", f"{attn}.proj")


def _make_halves(work: Recipes, config: ViTConfig, attn: str) -> None:
    """Put the channels of q and k into the order in which pairs that rotary embedding turns are the
    halves of each head, and no longer neighbours."""
    order = neighbours_to_halves(config.head_dim)
    heads = np.arange(2 * config.num_heads)[:, None] * config.head_dim
    rows = (heads + order).reshape(-1)
    for leaf in ("weight", "bias"):
        if f"{attn}.qkv.{leaf}" in work:
            change(work, f"{attn}.qkv.{leaf}", lambda array: _reordered(array, rows))
        if config.qk_norm:
            for norm in ("q_norm", "k_norm"):
                change(work, f"{attn}.{norm}.{leaf}", lambda array: _reordered(array, order))


def _reordered(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """With the first rows in another order."""
    array[: len(rows)] = array[rows]
    return array


def _look_up(work: Recipes, config: ViTConfig, module: str) -> None:
    table = work[f"{module}.relative_position_bias_table"]
    index = relative_position_index(config.grid)
    work[f"{module}.relative_position_bias"] = lambda: table()[index].transpose(2, 0, 1)[None]


def _fold_attention_pool(work: Recipes, config: ViTConfig) -> None:
    """Of a query q that is the same for all images, the score of token x in a head is
    q . (K x + b) = (K^T q) . x + q . b, whose last term softmax does not see; and because the
    weights sum to 1, the bias of the values is added to the result as it is."""
    dim, heads = config.embed_dim, config.num_heads
    by_head = (heads, config.head_dim)
    latent, q_weight, q_bias, kv_weight, kv_bias = (
        work[f"attn_pool.{name}"]
        for name in ("latent", "q.weight", "q.bias", "kv.weight", "kv.bias")
    )

    def scores() -> np.ndarray:
        query = (q_weight() @ latent().reshape(dim) + q_bias()) * config.head_dim**-0.5
        keys = kv_weight()[:dim].reshape(*by_head, dim)
        return np.einsum("hd,hdc->hc", query.reshape(by_head), keys)

    work["attn_pool.scores.weight"] = scores
    work["attn_pool.v.weight"] = lambda: kv_weight()[dim:]
    proj, bias = work["attn_pool.proj.weight"], work["attn_pool.proj.bias"]
    work["attn_pool.proj.bias"] = lambda: proj() @ kv_bias()[dim:] + bias()
    absorb_norm(work, "attn_pool.norm", "attn_pool.mlp.fc1")
