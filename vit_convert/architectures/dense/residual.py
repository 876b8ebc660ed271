"""The residual graph of a Vision Transformer with a dense head: that of the Vision Transformer, and
the batch normalisations of the head."""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures.dense.config import DenseConfig
from vit_convert.architectures.dense.parameters import HEAD, NORM_EPSILON
from vit_convert.architectures.residual_graph import BatchNorm, ResidualGraph
from vit_convert.architectures.vit.residual import residual_graph


def dense_residual_graph(config: DenseConfig) -> ResidualGraph:
    """See `vit_convert.architectures.residual_graph`."""
    units = [f"{HEAD}.fusion.{j}.unit{i}" for j in range(len(config.taps)) for i in (1, 2)]
    norms = tuple(
        BatchNorm(f"{unit}.norm{i}", f"{unit}.conv{i}", NORM_EPSILON)
        for unit in units
        for i in (1, 2)
        if config.fusion_norm and unit != f"{HEAD}.fusion.0.unit1"
    )
    return replace(residual_graph(config), batch_norms=norms)
