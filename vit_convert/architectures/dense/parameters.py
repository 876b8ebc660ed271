"""The parameters of a Vision Transformer with a dense head.

Those of the head are under `dense_head`, in the order of computation. Numbers of maps count from
the first block that is read, numbers of fusion layers from the deepest.
"""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.architectures.dense.config import DenseConfig
from vit_convert.architectures.parameters import BATCH_NORM, Parameter, convolution, linear, plain
from vit_convert.architectures.vit.parameters import backbone_parameters

HEAD = "dense_head"
NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d's


def dense_parameters(config: DenseConfig) -> Iterator[Parameter]:
    """See `Architecture.parameters`."""
    yield from backbone_parameters(config)
    if config.head == "linear":
        if config.head_norm:
            yield from _batch_norm(f"{HEAD}.norm", config.embed_dim)
        yield from convolution(f"{HEAD}.classes", config.embed_dim, config.num_classes, (1, 1))
    else:
        yield from _dpt_head(config)


def _dpt_head(config: DenseConfig) -> Iterator[Parameter]:
    dim, width = config.embed_dim, config.fusion_dim
    maps = list(enumerate(zip(config.neck_dims, config.neck_factors, strict=True)))
    for j, (channels, factor) in maps:
        if config.readout == "project":
            yield from linear(f"{HEAD}.readout.{j}", 2 * dim, dim)
        yield from convolution(f"{HEAD}.project.{j}", dim, channels, (1, 1))
        if factor != 1:
            side = int(factor) if factor > 1 else 3
            yield from convolution(f"{HEAD}.resize.{j}", channels, channels, (side, side))
        yield from convolution(f"{HEAD}.neck.{j}", channels, width, (3, 3), bias=False)
    for j, _ in maps:
        for unit in ("unit1", "unit2") if j else ("unit2",):
            yield from _residual_unit(config, f"{HEAD}.fusion.{j}.{unit}")
        yield from convolution(f"{HEAD}.fusion.{j}.out", width, width, (1, 1))
    if config.head_projection:
        yield from convolution(f"{HEAD}.projection", width, width, (3, 3))
    yield from convolution(f"{HEAD}.conv1", width, width // 2, (3, 3))
    yield from convolution(f"{HEAD}.conv2", width // 2, config.head_hidden, (3, 3))
    yield from convolution(f"{HEAD}.conv3", config.head_hidden, 1, (1, 1))


def _residual_unit(config: DenseConfig, name: str) -> Iterator[Parameter]:
    width = config.fusion_dim
    for i in (1, 2):
        yield from convolution(f"{name}.conv{i}", width, width, (3, 3), config.fusion_bias)
        if config.fusion_norm:
            yield from _batch_norm(f"{name}.norm{i}", width)


def _batch_norm(name: str, channels: int) -> Iterator[Parameter]:
    for leaf in BATCH_NORM:
        yield from plain(f"{name}.{leaf}", channels)
