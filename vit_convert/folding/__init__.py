"""Mapping a model to an equal one with fewer operations.

Exact in real arithmetic; computed in float64 and rounded to float32 once. An array is computed when
it is asked for, from the few that it depends on. What is folded:

- LayerScale into the rows of the projection before it (y = g * (W x + b) = (g W) x + g b);
- every layer that writes to the residual stream is centred over the channels,
  W <- (I - 11^T/d) W, so that the stream's mean is zero and LayerNorm needs none (where all that
  reads the stream are LayerNorms: not in post-norm blocks);
- the same layers are multiplied by STREAM_SCALE, so that the squares in LayerNorm fit into float16
  (x * rsqrt(mean(x^2) + eps) = s x * rsqrt(mean((s x)^2) + s^2 eps));
- the gamma and beta of a LayerNorm into the linear layer that follows it
  (W (g * n + b') + b = (W g) n + (W b' + b));
- the attention scale head_dim ** -0.5 into q and k, half of it each: int8 has one range for both;
- the bias of the patch embedding into the position embedding;
- relative position tables into what they say of each pair of tokens;
- the query of attention pooling into its keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from vit_convert.architectures import ModelSpec, ViTConfig
from vit_convert.folding.cait import fold_cait
from vit_convert.folding.steps import Recipes, reading
from vit_convert.folding.vit import fold_vit

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


class FoldedWeights(Mapping[str, np.ndarray]):
    """Canonical name -> array in float32, computed anew each time it is asked for."""

    def __init__(self, recipes: Recipes) -> None:
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
    work = {p.name: reading(weights, p.name) for p in spec.parameters()}
    config = spec.config
    fold_config = fold_vit if isinstance(config, ViTConfig) else fold_cait
    source = replace(spec.source, dtypes={})
    folded = replace(spec, config=fold_config(config, work, STREAM_SCALE), source=source)
    return folded, FoldedWeights({p.name: work[p.name] for p in folded.parameters()})
