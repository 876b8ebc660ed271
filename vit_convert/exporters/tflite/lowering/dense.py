"""The forward pass of a folded Vision Transformer with a dense head, as a TFLite graph.

Maps are (batch, height, width, channels). Phones' GPUs refuse TRANSPOSE_CONV, and resizing that
aligns corners: a transposed convolution whose stride is its filter's side is a linear layer for
each row of the squares that pixels become, and bilinear resizing is a product with a constant
matrix for each axis. Resizing without aligned corners is an operation that they take.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from vit_convert.architectures.dense.config import DenseConfig, Size, stride_of
from vit_convert.architectures.dense.parameters import HEAD
from vit_convert.architectures.dense.resizing import bilinear_weights
from vit_convert.exporters.tflite.builder import Activation, Tensor
from vit_convert.exporters.tflite.lowering.layers import Lowering
from vit_convert.exporters.tflite.lowering.vit import lower_backbone
from vit_convert.folding import Weight

_BAND = 100  # samples: fewer make more operations, more make more products with zeros


def lower(g: Lowering, images: Tensor) -> dict[str, Tensor]:
    """Images (batch, height, width, channels) -> "logits": depth (batch, rows, columns, 1), or
    scores of classes (batch, rows, columns, classes); and "attention.0", ... (batch, heads, n, n)
    where they are outputs.
    """
    config: DenseConfig = g.config
    blocks, points = lower_backbone(g, images)
    if config.head == "linear":
        return {"logits": _scores(g, blocks[-1]), **points}
    maps = [_map(g, j, blocks[i]) for j, i in enumerate(config.taps)]
    total = _fused(g, 0, maps[-1], None)
    for j, x in enumerate(maps[-2::-1], 1):
        total = _fused(g, j, x, total)
    if config.head_projection:
        total = _convolution(g, total, f"{HEAD}.projection", "relu")
    x = _resized(g, _convolution(g, total, f"{HEAD}.conv1"), config.output_size, HEAD)
    x = _pointwise(g, _convolution(g, x, f"{HEAD}.conv2", "relu"), f"{HEAD}.conv3")
    with g.module(HEAD):
        x = g.relu(x) if config.depth_activation == "relu" else g.logistic(x)
        if config.max_depth != 1:
            x = g.mul(x, g.values("max_depth", [config.max_depth]), "scaled")
    return {"logits": x, **points}


def _scores(g: Lowering, tokens: Tensor) -> Tensor:
    """Tokens (batch, 1, n, dim) -> scores of classes (batch, height, width, classes)."""
    config: DenseConfig = g.config
    x = g.tokens(tokens, config.num_prefix_tokens, tokens.shape[2], f"{HEAD}/patches")
    x = _pointwise(g, g.norm(x, "norm") if config.final_norm else x, f"{HEAD}.classes")
    x = g.reshape(x, (x.shape[0], *config.grid, x.shape[3]), f"{HEAD}/map")
    return _resized(g, x, config.image_size, HEAD, False)


def _map(g: Lowering, j: int, tokens: Tensor) -> Tensor:
    """Tokens (batch, 1, n, dim) -> a map (batch, height, width, fusion_dim)."""
    config: DenseConfig = g.config
    first, count = config.num_prefix_tokens, tokens.shape[2]
    with g.module(f"{HEAD}.readout.{j}"):
        patches = g.tokens(tokens, first, count, "patches")
        token = None if config.readout == "ignore" else g.tokens(tokens, 0, 1, "token")
    if config.final_norm:
        patches = g.norm(patches, "norm")
        token = None if token is None else g.norm(token, "norm")
    if token is not None:
        patches = _read_out(g, j, patches, token)
    x = _pointwise(g, patches, f"{HEAD}.project.{j}")
    x = g.reshape(x, (x.shape[0], *config.grid, x.shape[3]), f"{HEAD}/project.{j}/map")
    factor = config.neck_factors[j]
    if factor > 1:
        x = _enlarged(g, x, f"{HEAD}.resize.{j}")
    elif factor < 1:
        x = _strided(g, x, f"{HEAD}.resize.{j}", stride_of(factor))
    return _convolution(g, x, f"{HEAD}.neck.{j}")


def _read_out(g: Lowering, j: int, patches: Tensor, token: Tensor) -> Tensor:
    """Patches (batch, 1, n, dim) and class token (batch, 1, 1, dim) -> (batch, 1, n, dim). A linear
    layer over both side by side is the sum of one over each."""
    layer = f"{HEAD}.readout.{j}"
    if g.config.readout == "add":
        with g.module(layer):
            return g.add(patches, token)
    dim = patches.shape[3]
    weight = g.model.weights[f"{layer}.weight"]
    halves = [
        g.stored(f"{layer}.{part}.weight", weight.changed(_columns(half, dim), shape=(dim, dim)))
        for half, part in enumerate(("patches", "token"))
    ]
    with g.module(layer):
        mine = g.fully_connected(patches, halves[0], None, name="patches")
        read = g.fully_connected(token, halves[1], g.small(f"{layer}.bias"), name="token")
        both = g.add(mine, read)
        return g.relu(both) if g.config.gelu == "relu" else g.activation(both, g.config.gelu)


def _fused(g: Lowering, j: int, x: Tensor, total: Tensor | None) -> Tensor:
    """A map and the sum of deeper ones -> the new sum, resized."""
    name = f"{HEAD}.fusion.{j}"
    if total is not None:
        if x.shape[1:3] != total.shape[1:3]:
            x = _resized(g, x, (total.shape[1], total.shape[2]), f"{name}.map", False)
        with g.module(name):
            x = g.add(total, _unit(g, x, f"{name}.unit1"))
    # In the source the linear layer is behind the resizing, whose weights add up to 1: before it
    # gives the same, for a quarter of the products.
    x = _pointwise(g, _unit(g, x, f"{name}.unit2"), f"{name}.out")
    return _resized(g, x, g.config.fused_sizes[j], name)


def _unit(g: Lowering, x: Tensor, unit: str) -> Tensor:
    """x + conv2(relu(conv1(relu(x))))"""
    with g.module(unit):
        y = g.relu(x)
    y = _convolution(g, _convolution(g, y, f"{unit}.conv1", "relu"), f"{unit}.conv2")
    with g.module(unit):
        return g.add(y, x)


def _convolution(g: Lowering, x: Tensor, layer: str, activation: Activation = "none") -> Tensor:
    """A convolution of stride 1 that keeps the size."""
    kernel, bias = _kernel(g, layer)
    with g.module(layer):
        return g.conv_2d(x, kernel, bias, (1, 1), activation, same=True, name="")


def _strided(g: Lowering, x: Tensor, layer: str, stride: int) -> Tensor:
    """With one row and column of zeros at each edge, which SAME does not give for even sizes."""
    kernel, bias = _kernel(g, layer)
    with g.module(layer):
        x = g.pad(x, {1: (1, 1), 2: (1, 1)})
        return g.conv_2d(x, kernel, bias, (stride, stride), name="")


def _kernel(g: Lowering, layer: str) -> tuple[Tensor, Tensor]:
    """Of a convolution: the filters (outputs, height, width, inputs), and the bias."""
    weight = g.model.weights[f"{layer}.weight"]
    outputs, inputs, height, width = weight.shape
    by_channels = weight.changed(
        lambda array: array.transpose(0, 2, 3, 1), shape=(outputs, height, width, inputs)
    )
    bias = g.small(f"{layer}.bias") if g.has(f"{layer}.bias") else g.zeros(outputs)
    return g.stored(f"{layer}.weight", by_channels), bias


def _pointwise(g: Lowering, x: Tensor, layer: str) -> Tensor:
    """A convolution of 1 x 1, which is a linear layer."""
    weight = g.model.weights[f"{layer}.weight"]
    matrix = weight.changed(lambda array: array[:, :, 0, 0], shape=weight.shape[:2])
    with g.module(layer):
        stored = g.stored(f"{layer}.weight", matrix)
        return g.fully_connected(x, stored, g.small(f"{layer}.bias"), name="")


def _enlarged(g: Lowering, x: Tensor, layer: str) -> Tensor:
    """A transposed convolution whose stride is its filter's side, (batch, height, width, channels)
    -> (batch, factor height, factor width, channels)."""
    weight = g.model.weights[f"{layer}.weight"]  # (inputs, outputs, factor, factor)
    inputs, outputs, factor, _ = weight.shape
    batch, height, width, _ = x.shape
    bias = g.model.weights[f"{layer}.bias"]
    rows = []
    with g.module(layer):
        for row in range(factor):
            matrix = weight.changed(_row_of_squares(row), shape=(factor * outputs, inputs))
            stored = g.stored(f"{layer}.{row}.weight", matrix)
            shift = _repeated(g, f"{layer}.bias.{row}", bias, factor)
            y = g.fully_connected(x, stored, shift, name="row")
            rows.append(g.reshape(y, (batch, height, 1, width * factor * outputs), "line"))
        lines = g.concatenation(rows, 2, "lines")
        return g.reshape(lines, (batch, height * factor, width * factor, outputs), "")


def _repeated(g: Lowering, name: str, bias: Weight, count: int) -> Tensor:
    shape = (count * bias.shape[0],)
    return g.constant(name, shape, lambda: np.tile(bias.array(), count))


def _resized(g: Lowering, x: Tensor, size: Size, module: str, align_corners: bool = True) -> Tensor:
    """Bilinear resizing, (batch, height, width, channels) -> (batch, *size, channels); with aligned
    corners by a product with a matrix for the width, then one for the height."""
    _, height, width, _ = x.shape
    if size == (height, width):
        return x
    with g.module(module), g.scope("resize"):
        if not align_corners:
            return g.resize_bilinear(x, size, "")
        x = g.transpose(x, (0, 1, 3, 2), "columns")
        x = g.transpose(_resampled(g, x, size[1], "wide"), (0, 3, 2, 1), "rows")
        return g.transpose(_resampled(g, x, size[0], "high"), (0, 3, 1, 2), "")


def _resampled(g: Lowering, x: Tensor, new: int, name: str) -> Tensor:
    """Bilinear resizing of the last axis, (..., old) -> (..., new). The matrix is cut into bands of
    about _BAND samples: a sample is made of two neighbours, so that the rest of the whole matrix
    would be zeros to multiply with."""
    axis, old = len(x.shape) - 1, x.shape[-1]
    whole = bilinear_weights(old, new, align_corners=True).astype(np.float32)
    parts = []
    for rows in np.array_split(np.arange(new), max(1, round(new / _BAND))):
        used = np.flatnonzero(whole[rows].any(axis=0))
        first, behind = int(used[0]), int(used[-1]) + 1
        band = np.ascontiguousarray(whole[rows, first:behind])
        matrix = g.shared(f"resize/{old}_{new}/{rows[0]}", band.shape, partial(np.asarray, band))
        part = x if band.shape[1] == old else g.slice(x, axis, first, behind, "part")
        parts.append(g.fully_connected(part, matrix, name=name))
    return parts[0] if len(parts) == 1 else g.concatenation(parts, axis, "whole")


def _columns(half: int, dim: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array[:, half * dim : (half + 1) * dim]


def _row_of_squares(row: int) -> Callable[[np.ndarray], np.ndarray]:
    """(inputs, outputs, factor, factor) -> (factor * outputs, inputs), of one row of the filter."""
    return lambda array: array[:, :, row].transpose(2, 1, 0).reshape(-1, array.shape[0])
