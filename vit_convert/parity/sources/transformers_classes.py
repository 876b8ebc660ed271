"""Which classes of Hugging Face transformers run the models of each naming scheme, and what of
their output is a model's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Classes:
    """The classes of one kind of model.

    Attributes:
        config: its configuration.
        without: the model without a head.
        headed: with a head; "" if its head is a projection that stands beside the model.
        whole: the configuration that `headed` takes, where it is not the tower's alone.
        bare: whether `without` has the names that stand behind the naming scheme's body.
    """

    config: str
    without: str
    headed: str = ""
    whole: str = ""
    bare: bool = False


def _three(stem: str) -> Classes:
    return Classes(f"{stem}Config", f"{stem}Model", f"{stem}ForImageClassification")


_CLIP = Classes("CLIPVisionConfig", "CLIPVisionModel", "CLIPVisionModelWithProjection")
# a dialect's name, without its version -> classes
_CLASSES = {
    "vit": _three("ViT"),
    "vit-msn": _three("ViTMSN"),
    "ijepa": _three("IJepa"),
    "deit": Classes("DeiTConfig", "DeiTModel", "DeiTForImageClassificationWithTeacher"),
    "deit-single": _three("DeiT"),
    "beit": _three("Beit"),
    "beit-masked": Classes("BeitConfig", "BeitForMaskedImageModeling"),
    "dinov2": _three("Dinov2"),
    "dinov2-registers": _three("Dinov2WithRegisters"),
    "dinov3": Classes("DINOv3ViTConfig", "DINOv3ViTModel"),
    "dinov3-gated": Classes("DINOv3ViTConfig", "DINOv3ViTModel"),
    "aimv2": Classes("Aimv2VisionConfig", "Aimv2VisionModel", bare=True),
    "clip": _CLIP,
    "clip-classifier": Classes(
        "CLIPVisionConfig", "CLIPVisionModel", "CLIPForImageClassification", "CLIPConfig"
    ),
    "owlvit": Classes("OwlViTVisionConfig", "OwlViTVisionModel"),
    "blip": Classes("BlipVisionConfig", "BlipVisionModel", bare=True),
    "siglip": Classes("SiglipVisionConfig", "SiglipVisionModel"),
    "siglip-avg": Classes(
        "SiglipVisionConfig", "SiglipVisionModel", "SiglipForImageClassification", "SiglipConfig"
    ),
    "siglip2": Classes("Siglip2VisionConfig", "Siglip2VisionModel"),
    "siglip2-avg": Classes(
        "Siglip2VisionConfig",
        "Siglip2VisionModel",
        "Siglip2ForImageClassification",
        "Siglip2Config",
    ),
    "internvl": Classes("InternVLVisionConfig", "InternVLVisionModel", bare=True),
}
# model_type of config.json -> classes that the same names may belong to
_RELATIVES = {
    "vit_msn": _three("ViTMSN"),
    "data2vec-vision": _three("Data2VecVision"),
    "instructblip_vision_model": Classes(
        "InstructBlipVisionConfig", "InstructBlipVisionModel", bare=True
    ),
    "idefics3_vision": Classes("Idefics3VisionConfig", "Idefics3VisionTransformer", bare=True),
    "smolvlm_vision": Classes("SmolVLMVisionConfig", "SmolVLMVisionTransformer", bare=True),
    "blip_2_vision_model": Classes("Blip2VisionConfig", "Blip2VisionModel", bare=True),
    "owlv2_vision_model": Classes("Owlv2VisionConfig", "Owlv2VisionModel"),
}


def kind_of(dialect: str) -> str:
    """A dialect's name without library and version."""
    return dialect.removeprefix("transformers-").removesuffix("-5")


def classes_of(dialect: str, model_type: str) -> Classes:
    """The classes that run a dialect's models.

    Args:
        dialect: its name.
        model_type: what config.json says, "" without one.
    """
    return _RELATIVES.get(model_type) or _CLASSES[kind_of(dialect)]


def features_of(kind: str, model: Any, output: Any, has_head: bool) -> torch.Tensor:
    """The input of a model's head.

    Args:
        kind: of the naming scheme, see `kind_of`.
        model: without its head.
        output: what it gives.
        has_head: whether the checkpoint has one: DINOv2's reads more than the class token.
    """
    import torch

    result: torch.Tensor
    tokens = output.last_hidden_state
    means = getattr(model.config, "use_mean_pooling", False) or kind == "clip-classifier"
    if kind in ("clip", "siglip", "siglip2", "owlvit") or (kind == "beit" and model.pooler):
        result = output.pooler_output
    elif kind == "deit":
        result = tokens[:, :2].mean(dim=1)
    elif kind in ("ijepa", "siglip-avg", "siglip2-avg", "aimv2"):
        result = tokens.mean(dim=1)
    elif means:
        result = tokens[:, 1:].mean(dim=1)
    elif kind.startswith("dinov2") and has_head:
        skip = 1 + getattr(model.config, "num_register_tokens", 0)
        result = torch.cat([tokens[:, 0], tokens[:, skip:].mean(dim=1)], dim=1)
    else:
        result = tokens[:, 0]
    return result
