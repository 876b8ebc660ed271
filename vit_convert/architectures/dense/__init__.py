"""Vision Transformers with a dense head: DPT (arXiv:2103.13413), Depth Anything
(arXiv:2401.10891)."""

from __future__ import annotations

from vit_convert.architectures.definition import Architecture
from vit_convert.architectures.dense.config import DenseConfig
from vit_convert.architectures.dense.outputs import dense_outputs
from vit_convert.architectures.dense.parameters import dense_parameters
from vit_convert.architectures.dense.recognition import recognise_dense, refuse_dense
from vit_convert.architectures.dense.residual import dense_residual_graph
from vit_convert.architectures.dense.tensors import read_dense

DENSE = Architecture(
    name="dense",
    title="Vision Transformer for depth",
    config_class=DenseConfig,
    read=read_dense,
    recognise=recognise_dense,
    check=refuse_dense,
    parameters=lambda config: tuple(dense_parameters(config)),
    residual_graph=dense_residual_graph,
    outputs=dense_outputs,
    attention_names={"attention": "output_2_transformer_block_{i}_att"},
    keras_model="vit_convert.models.dense:DenseTransformer",
    lowering="vit_convert.exporters.tflite.lowering.dense:lower",
    source_model="vit_convert.parity.sources.transformers_depth:dense",
)
