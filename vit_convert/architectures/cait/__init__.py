"""CaiT, class-attention in image transformers (arXiv:2103.17239)."""

from __future__ import annotations

from vit_convert.architectures.cait.config import CaiTConfig
from vit_convert.architectures.cait.parameters import cait_block_names, cait_parameters
from vit_convert.architectures.cait.recognition import (
    published_caits,
    read_cait,
    recognise_cait,
    refuse_pools,
)
from vit_convert.architectures.cait.residual import residual_graph
from vit_convert.architectures.definition import Architecture

CAIT = Architecture(
    name="cait",
    title="CaiT",
    config_class=CaiTConfig,
    published=published_caits,
    read=read_cait,
    recognise=recognise_cait,
    check=refuse_pools,
    parameters=lambda config: tuple(cait_parameters(config)),
    block_names=cait_block_names,
    residual_graph=residual_graph,
    attention_names={
        "attention": "output_2_sa_ffn_block_{i}_att",
        "class_attention": "output_3_ca_ffn_block_{i}_att",
    },
    no_rollout="its heads are mixed after the softmax, so that its maps are no distributions",
    keras_model="vit_convert.models.cait:CaiT",
    lowering="vit_convert.exporters.tflite.lowering.cait:lower",
    source_model="vit_convert.parity.sources.timm_models:cait",
)
