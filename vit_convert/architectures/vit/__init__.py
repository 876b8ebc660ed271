"""Vision Transformer (arXiv:2010.11929), DeiT (arXiv:2012.12877), and what descends from them."""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures.definition import Architecture
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.initialisation import vit_initial
from vit_convert.architectures.vit.parameters import (
    vit_num_read_tokens,
    vit_parameters,
)
from vit_convert.architectures.vit.recognition import (
    published_vits,
    recognise_vit,
    refuse_combinations,
)
from vit_convert.architectures.vit.residual import residual_graph
from vit_convert.architectures.vit.tensors import read_vit

VIT = Architecture(
    name="vit",
    title="Vision Transformer",
    config_class=ViTConfig,
    published=published_vits,
    read=read_vit,
    recognise=recognise_vit,
    check=refuse_combinations,
    parameters=lambda config: tuple(vit_parameters(config)),
    initial=vit_initial,
    num_read_tokens=vit_num_read_tokens,
    residual_graph=residual_graph,
    up_to_block=lambda config, block: replace(
        config,
        num_classes=0,
        pool="avg",
        fc_norm=False,
        depth=block + 1,
        projection=0,
        unit_features=False,
    ),
    attention_names={"attention": "output_2_transformer_block_{i}_att"},
    keras_model="vit_convert.models.vit:VisionTransformer",
    lowering="vit_convert.exporters.tflite.lowering.vit:lower",
    source_model="vit_convert.parity.sources.timm_models:vit",
)
