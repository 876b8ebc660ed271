"""The models that are known here. To add one: a package like vit/, and a line in registry.py."""

from __future__ import annotations

from vit_convert.architectures.base import (
    Fact,
    Overrides,
    Preprocessing,
    Provenance,
    Recognition,
    Rival,
    TransformerConfig,
    Variant,
)
from vit_convert.architectures.cait.config import CaiTConfig
from vit_convert.architectures.definition import PUBLISHED_LOGITS, Architecture, resolve
from vit_convert.architectures.model_spec import ModelSpec, Source
from vit_convert.architectures.outputs import InputSpec, Output, OutputSpec
from vit_convert.architectures.parameters import Parameter, Shape
from vit_convert.architectures.registry import architecture, architectures, published_names
from vit_convert.architectures.vit.config import ViTConfig

__all__ = [
    "PUBLISHED_LOGITS",
    "Architecture",
    "CaiTConfig",
    "Fact",
    "InputSpec",
    "ModelSpec",
    "Output",
    "OutputSpec",
    "Overrides",
    "Parameter",
    "Preprocessing",
    "Provenance",
    "Recognition",
    "Rival",
    "Shape",
    "Source",
    "TransformerConfig",
    "Variant",
    "ViTConfig",
    "architecture",
    "architectures",
    "published_names",
    "resolve",
]
