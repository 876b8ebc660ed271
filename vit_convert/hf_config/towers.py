"""Which part of a config.json describes the image tower, and what it leaves out.

A model that holds an image tower describes it in a part of its configuration; and such a part has
only the values that are not its class's defaults. Those are from transformers' configuration_*.py.
"""

from __future__ import annotations

from typing import Any

# CLIPConfig, LlavaConfig, ...; VisionEncoderDecoderConfig; DepthAnythingConfig
_PARTS = ("vision_config", "encoder", "backbone_config")
_KEPT = ("model_type", "id2label")  # of the whole, where the part has none

_VIT = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 12}
_BEIT = _VIT | {"use_mean_pooling": True}
_DINOV2 = _VIT | {"layer_norm_eps": 1e-6}
_CLIP = _VIT | {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_SIGLIP = _VIT | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_IDEFICS3 = _SIGLIP | {"num_attention_heads": 16}
_BLIP = _VIT | {"layer_norm_eps": 1e-5}
_BLIP_2 = _VIT | {"layer_norm_eps": 1e-6, "num_attention_heads": 16}
_INTERNVL = _BEIT | {"layer_norm_eps": 1e-6, "num_attention_heads": 16}
# what a key means where it is left out, by model_type
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "deit": _VIT,
    "dpt": _VIT,
    "vit_mae": _VIT,
    "vit_msn": _VIT | {"layer_norm_eps": 1e-6},
    "ijepa": _VIT,
    "beit": _BEIT,
    "data2vec-vision": _BEIT,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
    "dinov3_vit": _DINOV2 | {"layer_norm_eps": 1e-5, "num_attention_heads": 6, "rope_theta": 100.0},
    "clip_vision_model": _CLIP,
    "altclip_vision_model": _CLIP,
    "chinese_clip_vision_model": _CLIP,
    "clipseg_vision_model": _CLIP,
    "metaclip_2_vision_model": _CLIP,
    "owlvit_vision_model": _CLIP,
    "owlv2_vision_model": _CLIP,
    "siglip_vision_model": _SIGLIP,
    "siglip2_vision_model": _SIGLIP,
    "idefics2_vision": _SIGLIP,
    "idefics3_vision": _IDEFICS3,
    "smolvlm_vision": _IDEFICS3,
    "blip_vision_model": _BLIP,
    "blip_2_vision_model": _BLIP_2,
    "instructblip_vision_model": _BLIP_2,
    "instructblipvideo_vision_model": _BLIP_2,
    "internvl_vision": _INTERNVL,
    "aimv2_vision_model": {"hidden_act": "silu", "rms_norm_eps": 1e-5, "num_attention_heads": 8},
}
# model_type of a whole -> that of its tower, where the part does not say it
_TOWERS = {
    "aimv2": "aimv2_vision_model",
    "clip": "clip_vision_model",
    "altclip": "altclip_vision_model",
    "chinese_clip": "chinese_clip_vision_model",
    "clipseg": "clipseg_vision_model",
    "metaclip_2": "metaclip_2_vision_model",
    "llava": "clip_vision_model",
    "owlvit": "owlvit_vision_model",
    "owlv2": "owlv2_vision_model",
    "siglip": "siglip_vision_model",
    "siglip2": "siglip2_vision_model",
    "paligemma": "siglip_vision_model",
    "idefics2": "idefics2_vision",
    "idefics3": "idefics3_vision",
    "smolvlm": "smolvlm_vision",
    "blip": "blip_vision_model",
    "blip-2": "blip_2_vision_model",
    "instructblip": "instructblip_vision_model",
    "instructblipvideo": "instructblipvideo_vision_model",
    "internvl": "internvl_vision",
}
SUPPORTED = frozenset({*DEFAULTS, *_TOWERS})


def of_vision(config: dict[str, Any]) -> dict[str, Any]:
    """The part that describes the image tower, with the model's type, and defaults filled in."""
    part = next((config[key] for key in _PARTS if isinstance(config.get(key), dict)), None)
    if part is not None:
        config = {key: config[key] for key in _KEPT if key in config} | part
    kind = config.get("model_type")
    name = kind if isinstance(kind, str) else ""
    name = _TOWERS.get(name, name)
    return {**DEFAULTS.get(name, {}), **config, **({"model_type": name} if name else {})}


def model_types(config: dict[str, Any]) -> tuple[str, ...]:
    """The types that a config.json states, the tower's first; () if it states none."""
    parts = [config[key] for key in _PARTS if isinstance(config.get(key), dict)]
    kinds = [part.get("model_type") for part in (*parts, config)]
    return tuple(kind for kind in kinds if isinstance(kind, str))
