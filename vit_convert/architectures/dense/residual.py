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
    graph = residual_graph(replace(config, num_classes=0))  # its norm is not read by a head alone
    if config.head == "linear":
        norm = BatchNorm(f"{HEAD}.norm", f"{HEAD}.classes", NORM_EPSILON, before=True)
        return replace(graph, batch_norms=(norm,) if config.head_norm else ())
    units = [f"{HEAD}.fusion.{j}.unit{i}" for j in range(len(config.taps)) for i in (1, 2)]
    norms = tuple(
        BatchNorm(f"{unit}.norm{i}", f"{unit}.conv{i}", NORM_EPSILON)
        for unit in units
        for i in (1, 2)
        if config.fusion_norm and unit != f"{HEAD}.fusion.0.unit1"
    )
    return replace(graph, batch_norms=norms)
