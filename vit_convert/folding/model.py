"""A model as folding sees it: weights that are computed on demand, and facts that hold for
them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vit_convert.architectures import ModelSpec, Shape
from vit_convert.architectures.residual_graph import ResidualGraph

_STRIP = 16


@dataclass(frozen=True)
class Weight:
    """An array that is computed anew each time it is asked for.

    Attributes:
        shape: in PyTorch's layout.
        compute: gives it in float64. The array is the caller's own and may be changed in place,
            which spares the memory of a second one.
    """

    shape: Shape
    compute: Callable[[], np.ndarray]

    def changed(
        self,
        function: Callable[..., np.ndarray],
        *others: Weight,
        shape: Shape | None = None,
    ) -> Weight:
        """The weight function(this, *others), of the same shape unless another is given."""
        return Weight(
            self.shape if shape is None else shape,
            lambda: function(self.compute(), *(other.compute() for other in others)),
        )

    def scaled(self, factor: float) -> Weight:
        """The weight, multiplied by a number."""

        def multiply(array: np.ndarray) -> np.ndarray:
            array *= factor
            return array

        return self.changed(multiply)

    def array(self) -> np.ndarray:
        """The array in float32, row by row in memory."""
        return _by_rows(self.compute().astype(np.float32))


@dataclass(frozen=True)
class FoldedModel:
    """A model on its way through the passes, and what they made true of it.

    What a model no longer needs is missing from `weights`: a LayerScale, a norm's gamma and beta,
    the bias of the patch embedding.

    Attributes:
        spec: the model that was folded, as it was.
        graph: its residual graph.
        weights: canonical name -> weight.
        stream_scale: what the residual stream is multiplied by.
        epsilons: norm -> epsilon, for its input as it is scaled now.
        centred_norms: LayerNorms whose input has a mean of zero over the channels.
        recentred_norms: LayerNorms after which the mean over the channels must be subtracted.
        attention_scaled: queries and keys contain the scale head_dim ** -0.5 of the scores.
        pixels: pictures enter as RGB in 0..255; mean and deviation are in the patch embedding.
    """

    spec: ModelSpec
    graph: ResidualGraph
    weights: Mapping[str, Weight]
    stream_scale: float = 1.0
    epsilons: Mapping[str, float] = field(default_factory=dict)
    centred_norms: frozenset[str] = frozenset()
    recentred_norms: frozenset[str] = frozenset()
    attention_scaled: bool = False
    pixels: bool = False

    @property
    def config(self) -> Any:
        """The configuration of the model that was folded."""
        return self.spec.config

    def subtracts_mean(self, norm: str) -> bool:
        """Whether a norm still has to subtract the mean over the channels from its input."""
        centres = {norm.name for norm in self.graph.norms if norm.centres}
        return norm in centres - self.centred_norms

    def having(self, changed: Mapping[str, Weight], without: Iterable[str] = ()) -> FoldedModel:
        """The model with some weights changed or added, and others left out."""
        gone = set(without)
        weights = {name: w for name, w in {**self.weights, **changed}.items() if name not in gone}
        return replace(self, weights=weights)


def _by_rows(array: np.ndarray) -> np.ndarray:
    """A matrix of an .h5 lies in memory column by column. Turning it around in strips, whose lines
    fit into the processor's cache, takes a quarter of the time.
    """
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array)
    rows = np.empty(array.shape, array.dtype)
    for start in range(0, array.shape[1], _STRIP):
        rows[:, start : start + _STRIP] = array[:, start : start + _STRIP]
    return rows
