"""config.json: the model and its labels.

The keys and their defaults: transformers' configuration_*.py of vit, deit, dinov2, dinov3_vit,
clip, siglip and beit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.hf_config.json_reader import Reader

_MAX_CLASSES = 1_000_000
# what a key means where it is left out, by model_type
_VIT = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 12}
_DINOV2 = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_attention_heads": 12}
_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 12}
_SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_attention_heads": 12}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "deit": _VIT,
    "vit_mae": _VIT,
    "beit": _VIT,
    "data2vec-vision": _VIT,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
    "dinov3_vit": _DINOV2 | {"layer_norm_eps": 1e-5, "num_attention_heads": 6, "rope_theta": 100.0},
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
}
# field of the configuration -> key in config.json, and how it is read
_FIELDS: dict[str, tuple[str, Callable[[Reader, str], Any]]] = {
    "embed_dim": ("hidden_size", Reader.whole),
    "depth": ("num_hidden_layers", Reader.whole),
    "num_heads": ("num_attention_heads", Reader.whole),
    "image_size": ("image_size", Reader.sides),
    "patch_size": ("patch_size", Reader.sides),
    "in_channels": ("num_channels", Reader.whole),
    "qkv_bias": ("qkv_bias", Reader.flag),
    "gelu": ("hidden_act", Reader.activation),
    "norm_eps": ("layer_norm_eps", Reader.number),
    "rotary_base": ("rope_theta", partial(Reader.number, low=1, high=1e9)),
}
_HAS_MLP_DIM = _DEFAULTS.keys() - {"vit_mae", "data2vec-vision", "dinov2", "dinov2_with_registers"}


def of_vision(config: dict[str, Any]) -> dict[str, Any]:
    """The part that describes the image tower, with the model's type, and defaults filled in."""
    part = config.get("vision_config")
    if isinstance(part, dict):
        kept = ("model_type", "id2label")
        config = {key: config[key] for key in kept if key in config} | part
    kind = config.get("model_type")
    return {**_DEFAULTS.get(kind if isinstance(kind, str) else "", {}), **config}


def model_facts(reader: Reader) -> dict[str, Fact]:
    """Field of the configuration -> its value."""
    facts = {
        name: Fact(read(reader, key), "read", f"config.json: {key}")
        for name, (key, read) in _FIELDS.items()
        if key in reader.data and not (key == "hidden_act" and reader.gated())
    }
    # DINOv2's is computed from mlp_ratio, and its intermediate_size, if there is one, means nothing
    if "intermediate_size" in reader.data and reader.data.get("model_type") in _HAS_MLP_DIM:
        width = reader.whole("intermediate_size")
        facts["mlp_dim"] = Fact(width, "read", "config.json: intermediate_size")
    return facts


def labels_of(reader: Reader) -> tuple[str, ...]:
    """id2label, unless it is what transformers fills in where nobody gave names."""
    table = reader.data.get("id2label")
    if table is None:
        return ()
    if not isinstance(table, dict) or not 0 < len(table) <= _MAX_CLASSES:
        raise reader.wrong("id2label", "a table from class to name")
    names = []
    for index in range(len(table)):
        name = table.get(str(index))
        if not isinstance(name, str) or len(name) > 10_000:
            raise reader.wrong("id2label", f"a name for each class; there is none for {index}")
        names.append(name.strip() or str(index))
    if all(name == f"LABEL_{index}" for index, name in enumerate(names)):
        return ()
    return tuple(names)
