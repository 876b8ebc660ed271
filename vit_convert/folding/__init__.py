"""Changing a model into an equal one with fewer operations.

Folding is a list of passes. Each is exact in real arithmetic, and works on names and on the
residual graph that the architecture describes. A pass computes nothing: an array is computed in
float64, from the few that it depends on, when it is asked for, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

import numpy as np

from vit_convert.architectures import ModelSpec, architecture
from vit_convert.folding.attention import (
    drop_what_softmax_does_not_see,
    frequencies_into_tables,
    look_up_relative_positions,
    neighbours_into_halves,
    query_into_pooling_keys,
    scale_into_queries_and_keys,
    split_fused,
)
from vit_convert.folding.batch_norms import batch_norms_into_convolutions
from vit_convert.folding.embeddings import pixels_into_patches, tokens_into_positions
from vit_convert.folding.model import FoldedModel, Weight
from vit_convert.folding.norms import norms_into_linears
from vit_convert.folding.stream import centre_stream, layer_scale_into_branches, scale_stream

__all__ = ["PASSES", "FoldedModel", "Weight", "fold", "unfolded"]

Pass = Callable[[FoldedModel], FoldedModel]

_KEPT = 4  # arrays as they were read: a layer's weight and bias, and a norm's

PASSES: tuple[Pass, ...] = (
    split_fused,
    layer_scale_into_branches,
    centre_stream,
    scale_stream,
    norms_into_linears,
    drop_what_softmax_does_not_see,
    scale_into_queries_and_keys,
    neighbours_into_halves,
    frequencies_into_tables,
    look_up_relative_positions,
    query_into_pooling_keys,
    tokens_into_positions,
    batch_norms_into_convolutions,
)


def fold(spec: ModelSpec, weights: Mapping[str, np.ndarray], pixels: bool = False) -> FoldedModel:
    """Fold a model.

    Args:
        spec: what it is.
        weights: canonical name -> array in PyTorch's layout, all of spec.parameters(); there may
            be more. An array is read when a folded one is computed from it.
        pixels: let it take RGB in 0..255 instead of normalised pictures.
    """
    model = unfolded(spec, weights)
    if pixels:
        model = pixels_into_patches(model)
    for change in PASSES:
        model = change(model)
    return model


def unfolded(spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> FoldedModel:
    """The model as the passes get it."""
    lock = Lock()
    recent: dict[str, np.ndarray] = {}  # a fused layer is read once for all its parts

    def reading(name: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            with lock:  # weights are computed by several threads
                array = recent.pop(name) if name in recent else weights[name]
                recent[name] = array
                while len(recent) > _KEPT:
                    del recent[next(iter(recent))]
            return np.array(array, np.float64)

        return read

    graph = architecture(spec.architecture).residual_graph(spec.config)
    return FoldedModel(
        spec,
        graph,
        {p.name: Weight(p.shape, reading(p.name)) for p in spec.parameters()},
        epsilons={norm.name: norm.epsilon for norm in graph.norms},
    )
