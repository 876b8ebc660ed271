"""Mapping a model to an equal one with fewer operations.

Exact in real arithmetic; computed in float64 and rounded to float32 once. An array is computed when
it is asked for, from the few that it depends on. What is folded:

- LayerScale into the rows of the projection before it (y = g * (W x + b) = (g W) x + g b);
- every layer that writes to the residual stream is centred over the channels,
  W <- (I - 11^T/d) W, so that the stream's mean is zero and LayerNorm needs none (where all that
  reads the stream are LayerNorms: not in post-norm blocks);
- the gamma and beta of a LayerNorm into the linear layer that follows it
  (W (g * n + b') + b = (W g) n + (W b' + b));
- the attention scale head_dim ** -0.5 into q;
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
    folded = replace(spec, config=fold_config(config, work), source=source)
    return folded, FoldedWeights({p.name: work[p.name] for p in folded.parameters()})
