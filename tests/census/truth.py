"""The values of a timm model that its tensors do not tell, read from its modules.

This is written apart from `scripts/make_published`, which reads them too, so that the census does
not repeat its mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from families import import_vision

timm = import_vision("timm")
from timm.layers import (  # noqa: E402  # timm must be imported as above first
    AttentionPoolLatent,
    GELUTanh,
    GluMlp,
    QuickGELU,
    SwiGLU,
)
from timm.models.cait import Cait  # noqa: E402  # as above
from timm.models.eva import Eva  # noqa: E402  # as above


def truth_of(model: torch.nn.Module) -> dict[str, Any]:
    """Field of the configuration -> its value, for a VisionTransformer, DeiT, Beit, Eva or Cait.

    A value that our configurations cannot express is a word in brackets.
    """
    block = model.blocks[0]
    attention = next(m for m in block.modules() if hasattr(m, "num_heads"))
    found: dict[str, Any] = {
        "image_size": tuple(model.patch_embed.img_size),
        "position": _position(model),
        "num_heads": attention.num_heads,
        "norm_eps": _one(_epsilons(model)),
        "pool": _pool(model),
        "norm_position": _norm_position(block),
    }
    if (activation := _activation(block)) != "[SiLU of a gate]":
        found["gelu"] = activation
    if hasattr(model, "pool_include_prefix"):
        found["pool_prefix"] = model.pool_include_prefix
    elif isinstance(model, Eva):
        found["pool_prefix"] = model.global_pool == "map"  # which takes all tokens
    found |= _rotary(model)
    if pool := getattr(model, "attn_pool", None):
        same = pool.num_heads == attention.num_heads
        found["pool_heads"] = None if same else pool.num_heads
        if _is_gated(block) and hasattr(pool, "mlp"):
            found["gelu"] = _activation(pool)  # of a plain MLP
    for module in block.modules():
        if isinstance(module, GluMlp) and module.gate_last:
            found["mlp"] = "[the second half is the gate]"
    for name in ("dual_lambda", "sub_norm"):  # differential attention
        if hasattr(attention, name):
            found["attention"] = "[differential]"
    if attention.num_heads != getattr(attention, "num_kv_heads", attention.num_heads):
        found["attention"] = "[grouped queries]"
    return found


def preprocessing_of(model: torch.nn.Module) -> dict[str, Any]:
    """Field of Preprocessing -> what timm does by default with pictures for the model."""
    from timm.data import resolve_data_config

    data = resolve_data_config({}, model=model)
    names = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
    return {name: data[name] for name in names}


def _one(values: Iterator[float]) -> Any:
    distinct = sorted(set(values))
    return distinct[0] if len(distinct) == 1 else f"[{distinct}]"


def _epsilons(model: torch.nn.Module) -> Iterator[float]:
    pools = [m for m in model.modules() if isinstance(m, AttentionPoolLatent)]
    inside = {id(part) for pool in pools for part in pool.modules()}
    for module in model.modules():
        if hasattr(module, "eps") and list(module.parameters(False)) and id(module) not in inside:
            yield module.eps


def _activation(block: torch.nn.Module) -> str:
    """The MLP's, or its gate's."""
    for name, module in block.named_modules():
        if not name.endswith(("act", "activation")):
            continue
        if _is_gated(block):
            return f"[{type(module).__name__} of a gate]"
        if isinstance(module, GELUTanh):
            return "tanh"
        if isinstance(module, torch.nn.GELU):
            return "tanh" if module.approximate == "tanh" else "erf"
        if isinstance(module, QuickGELU):
            return "quick"
        if isinstance(module, torch.nn.ReLU):
            return "relu"
        return f"[{type(module).__name__}]"
    return "[no activation]"


def _is_gated(block: torch.nn.Module) -> bool:
    return any(isinstance(module, (SwiGLU, GluMlp)) for module in block.modules())


def _pool(model: torch.nn.Module) -> str:
    pool = getattr(model, "global_pool", "token")
    known = ("token", "avg", "max", "avgmax", "map")
    if isinstance(model, Cait) and pool != "token":
        return f"[{pool} of a CaiT]"
    return pool if pool in known else f"[{pool or 'none'}]"


def _position(model: torch.nn.Module) -> str:
    table = getattr(model, "pos_embed", None)
    if table is None:
        return "none"
    covered = table.shape[1] - model.patch_embed.num_patches
    prefix = getattr(model, "num_prefix_tokens", 1)
    if isinstance(model, Cait) or covered == prefix:  # CaiT's class token comes later
        return "all"
    return "patches" if covered == 0 else "[some tokens]"


def _norm_position(block: torch.nn.Module) -> str:
    name = type(block).__name__
    if name in ("Block", "EvaBlock", "LayerScaleBlock", "ParallelThingsBlock"):
        return "pre"
    return {"ResPostBlock": "res-post", "EvaBlockPostNorm": "res-post"}.get(name, f"[{name}]")


def _rotary(model: torch.nn.Module) -> dict[str, Any]:
    """The kind of rotary embedding and its numbers; a kind that ours are not is in brackets."""
    rope = getattr(model, "rope", None)
    if rope is None:
        return {"rotary": "none"}
    kind = type(rope).__name__
    half, order = getattr(rope, "rotate_half", False), getattr(rope, "grid_indexing", "ij")
    offset = getattr(rope, "grid_offset", 0.0)
    other = f"[{kind}, {order}, {offset}, half {half}]"
    if kind == "RotaryEmbeddingDinoV3":
        usual = (half, order, offset, rope.normalize_coords) == (True, "ij", 0.5, "separate")
        return {"rotary": "dinov3", "rotary_base": rope.temperature} if usual else {"rotary": other}
    if kind == "RotaryEmbeddingMixed":
        return {"rotary": "mixed" if order == "xy" else other}
    if kind != "RotaryEmbeddingCat" or half or rope.in_pixels or rope.linear_bands:
        return {"rotary": other}
    grid = rope.ref_feat_shape or model.patch_embed.grid_size
    found = {"rotary_base": float(rope.temperature), "rotary_grid": tuple(grid)}
    if order == "ij":
        return found | {"rotary": "eva02" if offset == 0 else other}
    if rope.ref_feat_shape is None and offset == 0:
        return found | {"rotary": "axial"}
    whole = offset == int(model.num_prefix_tokens > 0)
    return found | {"rotary": "pe" if whole else other}
