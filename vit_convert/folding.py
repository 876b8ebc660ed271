"""Mapping a model to an equal one with fewer operations.

Exact in real arithmetic; computed in float64 and rounded to float32 once. An array is computed when
it is asked for, from the few that it depends on. What is folded:

- LayerScale into the rows of the projection before it (y = g * (W x + b) = (g W) x + g b);
- every layer that writes to the residual stream is centred over the channels,
  W <- (I - 11^T/d) W, so that the stream's mean is zero and LayerNorm needs none;
- the same layers are multiplied by STREAM_SCALE, so that the squares in LayerNorm fit into float16
  (x * rsqrt(mean(x^2) + eps) = s x * rsqrt(mean((s x)^2) + s^2 eps));
- the gamma and beta of a LayerNorm into the linear layer that follows it
  (W (g * n + b') + b = (W g) n + (W b' + b));
- the attention scale head_dim ** -0.5 into q and k, half of it each;
- the bias of the patch embedding into the position embedding.

A model without a norm before its head stays as it is: its head would see the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from vit_convert.architectures import ModelSpec, ViTConfig

# GPUs of phones compute in float16, whose largest value is 65504. The square of anything above 255
# is infinite there, and a token whose mean square is infinite becomes zero; LiteRT's newer delegate
# adds in float16 too (google-ai-edge/LiteRT#9249), so that a token's squares must fit together.
# Values of some hundreds are usual in a few channels of large transformers ("massive activations",
# Sun et al. 2024, arXiv:2402.17762). A sixteenth makes room for tokens of a norm of 4090: one such
# value, or a deviation of 147 over 768 channels. It costs no operation, where dividing each token
# by its largest value would double a norm's time; a power of two, it changes no digit of float32.
# The other end: tokens of a deviation of 1/8 are normalised to 1e-3, which is float16's precision,
# of 1/32 to 4e-3, of 1/64 to 2e-2, where the GPU has subnormal numbers. One that flushes them to
# zero loses tokens below 1/4, wherefore the scale is no smaller than it must be.
STREAM_SCALE = 1 / 16

# canonical name -> what computes the array anew, in float64, for its caller to do with as it likes
_Recipes = dict[str, Callable[[], np.ndarray]]


class FoldedWeights(Mapping[str, np.ndarray]):
    """Canonical name -> array in float32, computed anew each time it is asked for."""

    def __init__(self, recipes: _Recipes) -> None:
        self._recipes = recipes

    def __getitem__(self, name: str) -> np.ndarray:
        return self._recipes[name]().astype(np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)


def fold(spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> tuple[ModelSpec, FoldedWeights]:
    """Fold a model.

    Args:
        spec: a model that is not folded.
        weights: canonical name -> array in PyTorch's layout, all of spec.parameters(); there may
            be more. An array is read when a folded one is computed from it.

    Returns:
        The folded spec, and its weights, all of its parameters().
    """
    config = spec.config
    work = {p.name: _reading(weights, p.name) for p in spec.parameters()}
    if not config.ends_in_norm:
        return spec, FoldedWeights(work)
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    blocks += [f"blocks_token_only.{i}" for i in range(getattr(config, "depth_token_only", 0))]

    _fold_embeddings(work, prefix=getattr(config, "num_prefix_tokens", 0))
    for block in blocks:
        _fold_block(work, block, config.head_dim**-0.5)
    folded = spec.with_config(folded=True, stream_scale=STREAM_SCALE, qkv_bias=True)
    if isinstance(config, ViTConfig):
        folded = folded.with_config(layer_scale=False)
    heads = [name for name in ("head", "head_dist") if f"{name}.weight" in work]
    if folded.config.folds_final_norm:
        _absorb_norm(work, "norm", *heads)
    if getattr(folded.config, "folds_fc_norm", False):
        _absorb_norm(work, "fc_norm", *heads)
    folded = replace(folded, source=replace(spec.source, dtypes={}))
    return folded, FoldedWeights({p.name: work[p.name] for p in folded.parameters()})


def _reading(weights: Mapping[str, np.ndarray], name: str) -> Callable[[], np.ndarray]:
    return lambda: np.array(weights[name], np.float64)


def _change(work: _Recipes, name: str, function: Callable[..., np.ndarray], *others: str) -> None:
    """Let the array `name` be function(itself, *others), of what they all are now. The function may
    work in place, which spares the memory of a second array and half the time."""
    arguments = [work[each] for each in (name, *others)]
    work[name] = lambda: function(*(each() for each in arguments))


def _fold_embeddings(work: _Recipes, prefix: int) -> None:
    _change(work, "patch_embed.proj.weight", lambda weight: _for_stream(weight, axis=0))

    def with_bias(position: np.ndarray, bias: np.ndarray) -> np.ndarray:
        position[:, prefix:] += bias
        return position

    if "patch_embed.proj.bias" in work:
        _change(work, "pos_embed", with_bias, "patch_embed.proj.bias")
    for name in ("pos_embed", "cls_token", "dist_token"):
        if name in work:
            _change(work, name, lambda tokens: _for_stream(tokens, axis=-1))


def _fold_block(work: _Recipes, block: str, scale: float) -> None:
    """Fold one block of either kind; `scale` is that of the attention scores."""
    for layer, *scales in (
        ("attn.proj", "ls1.gamma", "gamma_1"),
        ("mlp.fc2", "ls2.gamma", "gamma_2"),
    ):
        for leaf in ("weight", "bias"):
            name = f"{block}.{layer}.{leaf}"
            for gamma in scales:
                if f"{block}.{gamma}" in work:
                    _change(work, name, _scale_outputs, f"{block}.{gamma}")
            _change(work, name, lambda array: _for_stream(array, axis=0))
    fused = f"{block}.attn.qkv.weight" in work
    if fused:
        _absorb_norm(work, f"{block}.norm1", f"{block}.attn.qkv")
    else:
        _absorb_norm(work, f"{block}.norm1", *(f"{block}.attn.{part}" for part in "qkv"))

    def scaled(array: np.ndarray) -> np.ndarray:
        # half of it for queries and half for keys: int8 has one range for both
        both = 2 * len(array) // 3 if fused else len(array)
        array[:both] *= scale**0.5
        return array

    for layer in ("qkv",) if fused else ("q", "k"):
        for leaf in ("weight", "bias"):
            _change(work, f"{block}.attn.{layer}.{leaf}", scaled)
    _absorb_norm(work, f"{block}.norm2", f"{block}.mlp.fc1")


def _absorb_norm(work: _Recipes, norm: str, *linears: str) -> None:
    """Put gamma and beta of a norm into each of the linear layers that take its output."""
    for linear in linears:
        weight, bias = f"{linear}.weight", f"{linear}.bias"
        if bias in work:
            _change(work, bias, lambda b, w, beta: w @ beta + b, weight, f"{norm}.bias")
        else:
            work[bias] = work[f"{norm}.bias"]
            _change(work, bias, lambda beta, w: w @ beta, weight)
        _change(work, weight, _scale_inputs, f"{norm}.weight")


def _scale_outputs(array: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Of a layer's weight (outputs, inputs) or bias (outputs,)."""
    array *= gamma[:, None] if array.ndim == 2 else gamma
    return array


def _scale_inputs(weight: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    weight *= gamma
    return weight


def _for_stream(array: np.ndarray, axis: int) -> np.ndarray:
    """Centred over the channels, and scaled."""
    array -= array.mean(axis=axis, keepdims=True)
    array *= STREAM_SCALE
    return array
