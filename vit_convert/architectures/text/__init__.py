"""The text towers of CLIP (arXiv:2103.00020), SigLIP (arXiv:2303.15343) and SigLIP 2
(arXiv:2502.14786): tokens become an embedding that can be compared with a picture's."""

from __future__ import annotations

from vit_convert.architectures.definition import Architecture
from vit_convert.architectures.text.config import TextConfig
from vit_convert.architectures.text.outputs import text_outputs, token_input
from vit_convert.architectures.text.parameters import text_parameters
from vit_convert.architectures.text.recognition import read_text, recognise_text
from vit_convert.architectures.text.residual import text_residual_graph

TEXT = Architecture(
    name="text",
    title="text tower",
    config_class=TextConfig,
    options=lambda config_class: frozenset({"num_heads", "gelu", "norm_eps"}),
    tower="text",
    read=read_text,
    recognise=recognise_text,
    parameters=lambda config: tuple(text_parameters(config)),
    residual_graph=text_residual_graph,
    input=token_input,
    outputs=text_outputs,
    without_head=lambda config: config,  # the projection belongs to what it gives
    keras_model="vit_convert.models.text:TextTransformer",
    lowering="vit_convert.exporters.tflite.lowering.text:lower",
    source_model="vit_convert.parity.sources.text_towers:in_timm",
)
