"""Arguments of timm's constructors, as its config.json (`model_args`), open_clip's configuration
(`timm_model_kwargs`) and its train.py (`args.model_kwargs`) state them.

Their names and defaults: timm's vision_transformer.py, beit.py, eva.py and cait.py. Most of them
can be told from the tensors, too; these are compared, or left to the tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.hf_config.json_reader import Reader

# timm/layers/create_act.py; an absent one is the model's own
_ACTIVATIONS = {
    "gelu": "erf",
    "gelu_tanh": "tanh",
    "quick_gelu": "quick",
    "relu": "relu",
    "silu": "silu",
}
_POOLS = ("token", "avg", "max", "avgmax", "map")
_ROPES = {"dinov3": "dinov3", "mixed": "mixed"}
# of rope_type "cat": rope_grid_indexing, rope_grid_offset, whether there is a grid of pre-training
_GRIDS = {
    ("ij", 0, True): "eva02",
    ("ij", 0, False): "eva02",
    ("xy", 0, False): "axial",
    ("xy", 0, True): "pe",
    ("xy", 1, True): "pe",
}
_NORM_EPS = 1e-6  # of LayerNorm and RmsNorm in timm/layers/norm.py
_NORMS = {"layernorm": "layer", "layernormfp32": "layer", "rmsnorm": "rms", "rmsnormfp32": "rms"}
# argument -> field that has the same value
_SAME = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "in_chans": "in_channels",
    "num_classes": "num_classes",
    "embed_dim": "embed_dim",
    "depth": "depth",
    "num_heads": "num_heads",
    "rope_temperature": "rotary_base",
    "ref_feat_shape": "rotary_grid",
    "attn_pool_num_heads": "pool_heads",
}
_FLAGS = {
    "qkv_bias": "qkv_bias",
    "qk_norm": "qk_norm",
    "class_token": "class_token",
    "pool_include_prefix": "pool_prefix",
    "pre_norm": "pre_norm",
    "use_pre_transformer_norm": "pre_norm",
}
# what no tensor tells, and the only values that are supported here
_UNUSUAL: dict[str, tuple[Any, ...]] = {
    "rope_rescale_coords": (None,),
    "rope_mrope_section": (None,),
    "pos_embed": ("learn", "none", ""),
    "scaled_cosine_attn": (False,),
}


def timm_argument_facts(reader: Reader) -> dict[str, Fact]:
    """Field of the configuration -> its value.

    Args:
        reader: of the arguments.

    Raises:
        CheckpointError: a value is impossible, or of a model that is not supported here.
    """
    facts: dict[str, Fact] = {}
    for key, value in reader.data.items():
        if value is None:
            continue
        if key in _SAME:
            facts[_SAME[key]] = reader.field(_SAME[key], key)
        elif key in _FLAGS:
            facts[_FLAGS[key]] = Fact(reader.flag(key), "read", reader.why(key))
        elif key in _READ:
            facts |= _READ[key](reader, key)
        elif key in _UNUSUAL and value not in _UNUSUAL[key]:
            usual = " or ".join(str(choice) for choice in _UNUSUAL[key] if choice is not None)
            raise reader.wrong(key, usual or "no value", "which is not supported here")
    return facts


def pool_fact(reader: Reader, key: str) -> dict[str, Fact]:
    """timm's `global_pool`, where it is a way of pooling; "" leaves all tokens."""
    value = reader.data[key]
    if value in ("", None):
        return {}
    if value not in _POOLS:
        raise reader.wrong(key, ", ".join(_POOLS), "which is not supported here", "--pool")
    return {"pool": Fact(value, "read", reader.why(key))}


def _activation(reader: Reader, key: str) -> dict[str, Fact]:
    value = reader.data[key]
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        raise reader.wrong(key, ", ".join(_ACTIVATIONS), "", "--gelu")
    return {"gelu": Fact(_ACTIVATIONS[value], "read", reader.why(key))}


def _norm(reader: Reader, key: str) -> dict[str, Fact]:
    value = reader.data[key]
    if not isinstance(value, str) or value.replace("_", "").lower() not in _NORMS:
        raise reader.wrong(key, ", ".join(_NORMS))
    why, kind = reader.why(key), _NORMS[value.replace("_", "").lower()]
    return {
        "norm": Fact(kind, "read", why),
        "norm_eps": Fact(_NORM_EPS, "read", f"{why}, whose epsilon is 1e-6"),
    }


def _position(reader: Reader, key: str) -> dict[str, Fact]:
    position = "patches" if reader.flag(key) else "all"
    return {"position": Fact(position, "read", reader.why(key))}


def _registers(reader: Reader, key: str) -> dict[str, Fact]:
    value = reader.data[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise reader.wrong(key, "a whole number from 0 on")
    return {"reg_tokens": Fact(value, "read", reader.why(key))}


def _rope(reader: Reader, key: str) -> dict[str, Fact]:
    """The kind of rotary embedding; "cat" is several, which the model or its grid tells apart."""
    value = reader.data[key]
    if value == "cat" or reader.data.get("use_rot_pos_emb") is False:
        return {}
    if not isinstance(value, str) or value not in _ROPES:
        raise reader.wrong(key, ", ".join(_ROPES), "which is not supported here", "--rotary")
    return {"rotary": Fact(_ROPES[value], "read", reader.why(key))}


def _rope_grid(reader: Reader, key: str) -> dict[str, Fact]:
    """The kind of a "cat", where the arguments that tell them apart are there."""
    data = reader.data
    if data.get("use_rot_pos_emb") is False or data.get("rope_type", "cat") != "cat":
        return {}
    indexing, offset = data.get("rope_grid_indexing"), data.get("rope_grid_offset", 0)
    for kind, value in _GRIDS.items():
        if kind == (indexing, offset, data.get("ref_feat_shape") is not None):
            return {"rotary": Fact(value, "read", reader.why(key))}
    raise reader.wrong(key, "a grid of EVA-02, RoPE-ViT or the Perception Encoder", "", "--rotary")


def _no_rope(reader: Reader, key: str) -> dict[str, Fact]:
    if reader.flag(key):
        return {}  # the kind is rope_type's, or the model's own
    return {"rotary": Fact("none", "read", reader.why(key))}


_READ: dict[str, Callable[[Reader, str], dict[str, Fact]]] = {
    "global_pool": pool_fact,
    "act_layer": _activation,
    "norm_layer": _norm,
    "no_embed_class": _position,
    "reg_tokens": _registers,
    "num_reg_tokens": _registers,
    "rope_type": _rope,
    "rope_grid_indexing": _rope_grid,
    "rope_grid_offset": _rope_grid,
    "use_rot_pos_emb": _no_rope,
}
