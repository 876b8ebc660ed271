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
# what together tells the kind of rotary embedding, and the kinds; any one of them alone changes a
# published kind into none that is known here
_ROPE = ("rope_type", "rope_grid_indexing", "rope_grid_offset", "rope_rotate_half")
_ROPES = {
    ("cat", "ij", 0, False): "eva02",
    ("cat", "xy", 0, False): "axial",
    ("cat", "xy", 1, False): "pe",
    ("dinov3", "ij", 0, True): "dinov3",
    ("mixed", "xy", 0, False): "mixed",
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
# argument -> fields that the tensors tell, and that it changes from what is published
_CHANGES = {
    "mlp_ratio": ("mlp_dim",),
    "mlp_layer": ("mlp", "mlp_dim"),
    "swiglu_mlp": ("mlp", "mlp_dim"),
    "swiglu_align_to": ("mlp_dim",),
    "scale_mlp": ("mlp_norm",),
    "scale_mlp_norm": ("mlp_norm",),
    "scale_attn_norm": ("attn_norm",),
    "scale_attn_inner": ("attn_norm",),
    "init_values": ("layer_scale",),
    "pos_embed": ("position",),
    "use_abs_pos_emb": ("position",),
    "use_rel_pos_bias": ("rel_pos",),
    "use_shared_rel_pos_bias": ("rel_pos",),
    "use_rot_pos_emb": ("rotary",),
    "embed_norm_layer": ("patch_norm",),
    "final_norm": ("final_norm",),
    "fc_norm": ("final_norm", "fc_norm"),
    "use_fc_norm": ("final_norm", "fc_norm"),
    "use_post_transformer_norm": ("final_norm",),
    "use_post_norm": ("norm_position",),
    "block_fn": ("norm_position", "parallel"),
    "norm_layer": ("norm_bias",),
    "attn_pool_mlp_ratio": ("pool_mlp_dim",),
    "depth_token_only": ("depth_token_only",),
    "mlp_ratio_token_only": ("mlp_dim_token_only",),
    "embed_dim": ("mlp_dim", "mlp_dim_token_only", "pool_mlp_dim"),
    "num_heads": ("rel_pos",),
}
# what no tensor tells, and the only values that are supported here
_UNUSUAL: dict[str, tuple[Any, ...]] = {
    "rope_rescale_coords": (None,),
    "rope_mrope_section": (None,),
    "pos_embed": ("learn", "none", ""),
    "scaled_cosine_attn": (False,),
}


def timm_argument_facts(reader: Reader) -> dict[str, Fact]:
    """Field of the configuration -> its value; "changed" -> the fields that the tensors tell.

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
        elif key in _READ and _READ[key][0] not in reader.given:
            facts |= _READ[key][1](reader, key)
        if key in _UNUSUAL and value not in _UNUSUAL[key]:
            usual = " or ".join(str(choice) for choice in _UNUSUAL[key] if choice is not None)
            raise reader.wrong(key, usual or "no value", "which is not supported here")
    if keys := [key for key in reader.data if key in _CHANGES]:
        changed = {name for key in keys for name in _CHANGES[key]}
        facts["changed"] = Fact(tuple(sorted(changed)), "read", reader.why(keys[0]))
    return facts


def pool_fact(reader: Reader, key: str) -> dict[str, Fact]:
    """timm's `global_pool`, where it is a way of pooling; "" leaves all tokens."""
    value = reader.data[key]
    if value in ("", None):
        return {}
    if value not in _POOLS and "pool" not in reader.given:
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
    data = reader.data
    if data.get("use_rot_pos_emb") is False:
        return {}
    stated = tuple(data.get(name) for name in _ROPE)
    kind = next((kind for values, kind in _ROPES.items() if values == stated), None)
    if kind is None or "ref_feat_shape" not in data:
        expected = f"a known kind by {', '.join(_ROPE)} and ref_feat_shape together"
        raise reader.wrong(key, expected, "", "--rotary")
    if kind == "axial" and data["ref_feat_shape"] is not None:
        kind = "pe"  # without a class token
    return {"rotary": Fact(kind, "read", reader.why(key))}


def _no_rope(reader: Reader, key: str) -> dict[str, Fact]:
    if reader.flag(key):
        return {}  # the kind is rope_type's, or the model's own
    return {"rotary": Fact("none", "read", reader.why(key))}


# argument -> the field that it tells, and how
_READ: dict[str, tuple[str, Callable[[Reader, str], dict[str, Fact]]]] = {
    "global_pool": ("pool", pool_fact),
    "act_layer": ("gelu", _activation),
    "norm_layer": ("norm_eps", _norm),
    "no_embed_class": ("position", _position),
    "reg_tokens": ("reg_tokens", _registers),
    "num_reg_tokens": ("reg_tokens", _registers),
    "use_rot_pos_emb": ("rotary", _no_rope),
    **dict.fromkeys(_ROPE, ("rotary", _rope)),
}
