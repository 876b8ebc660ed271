"""The layers that models are made of, as operations of a TFLite graph.

Tokens are (batch, 1, tokens, channels) throughout: GPU delegates of phones take rank 4 with the
batch first, and nothing else so well (google-ai-edge/LiteRT#8619, #9277).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vit_convert.architectures.base import Gelu
from vit_convert.exporters.tflite.builder import Activation, GraphBuilder, Tensor
from vit_convert.exporters.tflite.growing_graph import Shape
from vit_convert.folding import FoldedModel, Weight
from vit_convert.folding.embeddings import TOKENS


class StoreWeight(Protocol):
    """The storage of weights in a file."""

    def __call__(self, g: GraphBuilder, name: str, weight: Weight, /) -> Tensor:
        """The tensor of a weight of the linear layer or convolution of that name."""

    def rows(
        self, g: GraphBuilder, name: str, table: Weight, places: Tensor, shape: Shape, /
    ) -> Tensor:
        """Rows of a table of that name: so many whole numbers -> (*shape, channels) float32."""


_LEAST = 1e-6  # so that a vector of zeros has a size to be divided by


class Lowering(GraphBuilder):
    """A graph builder that knows the folded model, and layers instead of operations.

    Args:
        model: what is lowered.
        store_weight: how weights of linear layers and of the patch embedding are stored.
        attention: whether attention maps are outputs.
        tokens_after: the block whose tokens are the output; None where something else is.

    Raises:
        ValueError: a pass is missing that lowering relies on.
    """

    def __init__(
        self,
        model: FoldedModel,
        store_weight: StoreWeight,
        attention: bool = False,
        tokens_after: int | None = None,
    ) -> None:
        super().__init__()
        fused = [f.layer for f in model.graph.fused if f"{f.layer}.weight" in model.weights]
        scales = [b.scale for b in model.graph.branches if b.scale in model.weights]
        if fused or scales or not model.attention_scaled:
            raise ValueError(f"the model is not folded: {[*fused, *scales][:1] or 'attention'}")
        self.model = model
        self.config: Any = model.config
        self.attention = attention
        self.tokens_after = tokens_after
        self._store_weight = store_weight
        self._linears: dict[str, tuple[Tensor, Tensor | None]] = {}  # a layer may be used twice
        self._shared: dict[str, Tensor] = {}
        self._score_biases: dict[tuple[str, int], Tensor] = {}  # all blocks may share one

    def has(self, name: str) -> bool:
        """Whether the folded model still has that weight."""
        return name in self.model.weights

    def small(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """A weight that is no matrix, in float32 whatever the precision is.

        Args:
            name: of the weight.
            shape: to give it, its own by default.
        """
        weight = self.model.weights[name]
        wanted = weight.shape if shape is None else shape
        return self.constant(name, wanted, lambda: weight.array().reshape(wanted))

    def stored(self, name: str, weight: Weight) -> Tensor:
        """A matrix or the filters of a convolution, in the precision of the file."""
        return self._store_weight(self, name, weight)

    def rows(self, name: str, places: Tensor, shape: Shape) -> Tensor:
        """Rows of the table of that name: as many whole numbers as the shape has -> (*shape,
        channels)."""
        return self._store_weight.rows(self, name, self.model.weights[name], places, shape)

    def shared(self, name: str, shape: tuple[int, ...], read: Callable[[], np.ndarray]) -> Tensor:
        """A constant in float32 that several layers use."""
        if name not in self._shared:
            self._shared[name] = self.constant(name, shape, read)
        return self._shared[name]

    def score_bias(self, name: str, queries: int) -> Tensor:
        """What is added to attention's scores: (1, heads, n, n), or its rows of the first tokens,
        (1, heads, queries, n). A part of a constant is a constant: GPU delegates take no slice of
        one."""
        key = name, queries
        if key not in self._score_biases:
            weight = self.model.weights[name]
            shape = (*weight.shape[:2], queries, weight.shape[3])
            rows = self.constant(name, shape, lambda: weight.array()[:, :, :queries])
            self._score_biases[key] = rows
        return self._score_biases[key]

    def zeros(self, count: int) -> Tensor:
        """A vector of zeros, for a convolution, which must have a bias; one for each, because a
        quantised bias has its convolution's own scale."""
        return self.constant("zeros", (count,), lambda: np.zeros(count, np.float32))

    def linear(self, x: Tensor, layer: str, activation: Activation = "none") -> Tensor:
        """(batch, 1, n, inputs) -> (batch, 1, n, outputs)."""
        if layer not in self._linears:
            name, weight = f"{layer}.weight", self.model.weights[f"{layer}.weight"]
            bias = self.small(f"{layer}.bias") if self.has(f"{layer}.bias") else None
            self._linears[layer] = self._store_weight(self, name, weight), bias
        matrix, shift = self._linears[layer]
        with self.module(layer):
            return self.fully_connected(x, matrix, shift, activation, "")

    def norm(self, x: Tensor, norm: str) -> Tensor:
        """LayerNorm (Ba et al. 2016, arXiv:1607.06450) or RMSNorm (Zhang and Sennrich 2019,
        arXiv:1910.07467) over the last axis, as far as folding left it: (..., channels) -> the same
        shape."""
        last = len(x.shape) - 1
        with self.module(norm):
            if self.model.subtracts_mean(norm):
                x = self.sub(x, self.mean(x, last, "mean"), "centred")
            variance = self.mean(self.square(x), last, "variance")
            epsilon = self.values("epsilon", [self.model.epsilons[norm]])
            y = self.mul(x, self.rsqrt(self.add(variance, epsilon)), "normal")
            if self.has(f"{norm}.weight"):
                y = self.mul(y, self.small(f"{norm}.weight"), "scaled")
            if self.has(f"{norm}.bias"):
                y = self.add(y, self.small(f"{norm}.bias"), "shifted")
            if norm in self.model.recentred_norms:
                y = self.sub(y, self.mean(y, last, "mean"), "recentred")
        return y

    def embed(self, images: Tensor) -> Tensor:
        """Images (batch, height, width, channels) -> tokens (batch, 1, n, channels), as the first
        block sees them.

        A row of a patch becomes one pixel of many channels: the same numbers in the same order, in
        a convolution with longer inner products. Learned tokens are added to zeros instead of
        being concatenated, so that they fit any batch size. Pixels beyond the last whole patch are
        cut off first.
        """
        embedding, config = self.model.graph.embedding, self.config
        batch, height, width, channels = images.shape
        high, wide = config.patch_size
        rows, columns = embedding.grid
        name = f"{embedding.patches}.weight"
        kernel, bias = self.model.weights[name], f"{embedding.patches}.bias"
        dim = kernel.shape[0]
        by_rows = kernel.changed(
            lambda array: array.transpose(0, 2, 3, 1).reshape(dim, high, 1, wide * channels),
            shape=(dim, high, 1, wide * channels),
        )
        with self.module(embedding.patches):
            if width > columns * wide:
                images = self.slice(images, 2, 0, columns * wide, "whole")
            pixels = self.reshape(images, (batch, height, columns, wide * channels), "rows")
            patches = self.conv_2d(
                pixels,
                self._store_weight(self, name, by_rows),
                self.small(bias) if self.has(bias) else self.zeros(dim),
                (high, 1),
            )
        x = self.reshape(patches, (batch, 1, rows * columns, dim), "patches")
        if embedding.norm:
            x = self.norm(x, embedding.norm)
        if not self.has(TOKENS):
            return x
        before = sum(token.count for token in embedding.prefix)
        if before:
            x = self.pad(x, {2: (before, 0)}, "padded")
        tokens = self.small(TOKENS, (1, 1, before + rows * columns, dim))
        return self.add(x, tokens, "positioned")

    def activation(self, x: Tensor, kind: Gelu) -> Tensor:
        """GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415): exact, by tanh, or "quick", x *
        sigmoid(1.702 x); or SiLU, x * sigmoid(x). ReLU is part of the linear layer before it."""
        if kind == "silu":
            return self.mul(x, self.logistic(x), "silu")
        if kind == "quick":
            slope = self.values("slope", [1.702])
            return self.mul(x, self.logistic(self.mul(x, slope, "sloped")), "gelu")
        return self.gelu(x, approximate=kind == "tanh")

    def mlp(self, x: Tensor, mlp: str, gelu: Gelu) -> Tensor:
        """Two linear layers with GELU between them: (batch, 1, n, dim) -> the same shape."""
        if gelu == "relu":
            hidden = self.linear(x, f"{mlp}.fc1", "relu")
        else:
            hidden = self.linear(x, f"{mlp}.fc1")
            with self.module(mlp):
                hidden = self.activation(hidden, gelu)
        if f"{mlp}.norm" in self.model.epsilons:
            hidden = self.norm(hidden, f"{mlp}.norm")
        return self.linear(hidden, f"{mlp}.fc2")

    def swiglu(self, x: Tensor, mlp: str) -> Tensor:
        """fc2(silu(gate) * value) (Shazeer 2020, arXiv:2002.05202): (batch, 1, n, dim) -> the same
        shape."""
        gate, value = self.linear(x, f"{mlp}.fc1_g"), self.linear(x, f"{mlp}.fc1_x")
        with self.module(mlp):
            hidden = self.mul(self.mul(gate, self.logistic(gate), "silu"), value, "gated")
        if f"{mlp}.norm" in self.model.epsilons:
            hidden = self.norm(hidden, f"{mlp}.norm")
        return self.linear(hidden, f"{mlp}.fc2")

    def of_length_one(self, x: Tensor, name: str) -> Tensor:
        """(..., channels) -> the same, each vector divided by its length.

        Phones' GPUs compute in float16, in which a sum of squares is infinite from 65504 on. So the
        vector is brought to a largest |value| of 1 first, by two factors rsqrt(largest), and the
        mean of squares taken in place of their sum.
        """
        last = len(x.shape) - 1
        with self.module(name):
            largest = self.maximum(self.abs(x), last, "largest")
            root = self.rsqrt(self.add(largest, self.values("least", [_LEAST])), "root")
            x = self.mul(self.mul(x, root), root, "small")
            mean = self.mean(self.square(x), last, "mean")
            unit = self.mul(self.rsqrt(mean), self.values("width", [x.shape[last] ** -0.5]), "unit")
            return self.mul(x, unit)

    def grid_tokens(self, x: Tensor, skipped: int) -> Tensor:
        """Tokens as the last block that is wanted leaves them (batch, 1, skipped + n, dim) -> those
        of the patches, with the last norm where the model has one."""
        patches = self.tokens(x, skipped, x.shape[2], "patches")
        return self.norm(patches, "norm") if "norm" in self.model.epsilons else patches

    def tokens(self, x: Tensor, start: int, stop: int, name: str = "slice") -> Tensor:
        """Some of the tokens: (batch, 1, n, dim) -> (batch, 1, stop - start, dim)."""
        return x if (start, stop) == (0, x.shape[2]) else self.slice(x, 2, start, stop, name)

    def module(self, name: str) -> Any:
        """Let names of tensors begin with the path of a module: blocks.3.attn is blocks.3/attn."""
        return self.scope(re.sub(r"\.(?!\d)", "/", name))
