"""Mapping a model to an equal one with fewer operations.

Exact in real arithmetic; computed in float64 and rounded to float32 once. What is folded:

- LayerScale into the rows of the projection before it (y = g * (W x + b) = (g W) x + g b);
- every layer that writes to the residual stream is centred over the channels,
  W <- (I - 11^T/d) W, so that the stream's mean is zero and LayerNorm needs none;
- the gamma and beta of a LayerNorm into the linear layer that follows it
  (W (g * n + b') + b = (W g) n + (W b' + b));
- the attention scale head_dim ** -0.5 into q;
- the bias of the patch embedding into the position embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vit_convert.architectures import ModelSpec, ViTConfig

Weights = dict[str, np.ndarray]


def fold(spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> tuple[ModelSpec, Weights]:
    """Fold a model.

    Args:
        spec: a model that is not folded.
        weights: canonical name -> array in PyTorch's layout, all of spec.parameters().

    Returns:
        The folded spec, and its weights in float32, all of its parameters().
    """
    config = spec.config
    work = {name: np.asarray(array, np.float64) for name, array in weights.items()}
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    blocks += [f"blocks_token_only.{i}" for i in range(getattr(config, "depth_token_only", 0))]

    _fold_embeddings(work, prefix=getattr(config, "num_prefix_tokens", 0))
    for block in blocks:
        _fold_block(work, block, config.head_dim**-0.5)
    folded = spec.with_config(folded=True, qkv_bias=True)
    if isinstance(config, ViTConfig):
        folded = folded.with_config(layer_scale=False)
    heads = [name for name in ("head", "head_dist") if f"{name}.weight" in work]
    if folded.config.folds_final_norm:
        _absorb_norm(work, "norm", *heads)
    if getattr(folded.config, "folds_fc_norm", False):
        _absorb_norm(work, "fc_norm", *heads)
    folded = replace(folded, source=replace(spec.source, dtypes={}))
    return folded, {p.name: work[p.name].astype(np.float32) for p in folded.parameters()}


def _fold_embeddings(work: Weights, prefix: int) -> None:
    work["patch_embed.proj.weight"] = _centred(work["patch_embed.proj.weight"], axis=0)
    position = work["pos_embed"].copy()
    position[:, prefix:] += work.pop("patch_embed.proj.bias", np.zeros(()))
    work["pos_embed"] = _centred(position, axis=-1)
    for name in ("cls_token", "dist_token"):
        if name in work:
            work[name] = _centred(work[name], axis=-1)


def _fold_block(work: Weights, block: str, scale: float) -> None:
    """Fold one block of either kind; `scale` is that of the attention scores."""
    for layer, *scales in (
        ("attn.proj", "ls1.gamma", "gamma_1"),
        ("mlp.fc2", "ls2.gamma", "gamma_2"),
    ):
        for leaf in ("weight", "bias"):
            name = f"{block}.{layer}.{leaf}"
            for gamma in scales:
                if f"{block}.{gamma}" in work:
                    # transposed, so that gamma meets the outputs of weight and bias alike
                    work[name] = (work[name].T * work[f"{block}.{gamma}"]).T
            work[name] = _centred(work[name], axis=0)
    if f"{block}.attn.qkv.weight" in work:
        _absorb_norm(work, f"{block}.norm1", f"{block}.attn.qkv")
        query = slice(0, len(work[f"{block}.attn.qkv.bias"]) // 3)
        scaled = (f"{block}.attn.qkv", query)
    else:
        _absorb_norm(work, f"{block}.norm1", *(f"{block}.attn.{part}" for part in "qkv"))
        scaled = (f"{block}.attn.q", slice(None))
    for leaf in ("weight", "bias"):
        array = work[f"{scaled[0]}.{leaf}"].copy()
        array[scaled[1]] *= scale
        work[f"{scaled[0]}.{leaf}"] = array
    _absorb_norm(work, f"{block}.norm2", f"{block}.mlp.fc1")


def _absorb_norm(work: Weights, norm: str, *linears: str) -> None:
    """Put gamma and beta of a norm into each of the linear layers that take its output."""
    gamma, beta = work[f"{norm}.weight"], work[f"{norm}.bias"]
    for linear in linears:
        weight = work[f"{linear}.weight"]
        work[f"{linear}.bias"] = weight @ beta + work.get(f"{linear}.bias", 0.0)
        work[f"{linear}.weight"] = weight * gamma


def _centred(array: np.ndarray, axis: int) -> np.ndarray:
    return array - array.mean(axis=axis, keepdims=True)
