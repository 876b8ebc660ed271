"""The values of our configurations, read from timm's modules: never from the names of models.

What tensors tell is told by the project's own recognition of the module's state dict; the rest
stands in the attributes of modules. A value that no configuration here can have is a few words in
angle brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from vit_convert.architectures import Architecture, Overrides, architecture
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.errors import VitConvertError


@dataclass
class Reading:
    """What was found in a module.

    Attributes:
        family: the architecture whose names its tensors have.
        values: field of the configuration -> value.
        shapes: canonical name -> shape.
        dialect: the naming scheme of its own names.
        foreign: why its tensors are those of no model here.
        problems: what else no configuration here can say.
    """

    family: Architecture
    values: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dialect: str = "timm"
    foreign: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_module(model: nn.Module) -> Reading:
    """Read a model of timm's, on any device."""
    kind = type(model).__name__
    reading = Reading(architecture("cait" if kind == "Cait" else "vit"))
    encoder = getattr(model, "encoder", model)
    _read_tensors(model, reading)
    values = reading.values
    blocks = [*encoder.blocks, *getattr(encoder, "blocks_token_only", [])]
    values["image_size"] = tuple(encoder.patch_embed.img_size)
    values["num_heads"] = _one(m.num_heads for b in blocks for m in _attentions(b))
    values["norm_eps"] = _one(_attributes(model, "eps"))
    values["gelu"] = _activation(reading, model)
    values["pool"] = getattr(model, "global_pool", "token") or "<none>"
    if kind == "Cait":
        return reading
    pool = getattr(model, "attn_pool", None)
    own = pool is not None and pool.num_heads != values["num_heads"]
    values["pool_heads"] = pool.num_heads if own else None
    values["norm"] = _norm(model)
    takes_all = kind == "Eva" and values["pool"] == "map"  # its attention pooling leaves none out
    values["pool_prefix"] = bool(getattr(model, "pool_include_prefix", takes_all))
    values["position"] = _position(encoder)
    values["norm_position"] = _norm_position(reading, blocks)
    values |= _rotary(encoder, blocks)
    return reading


def _read_tensors(model: nn.Module, reading: Reading) -> None:
    def unread() -> Any:
        raise AssertionError("a tensor was read")

    tensors = {
        name: LazyTensor(name, tuple(value.shape), "float32", unread)
        for name, value in model.state_dict().items()
    }
    try:
        ledger = read_as_canonical(tensors, "its module")
    except VitConvertError as error:
        reading.foreign.append(error.what)
        return
    reading.dialect = ledger.dialect.name
    strange = dict.fromkeys([*ledger.unexpected, *ledger.problems])
    if strange:
        patterns = dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "{i}", name) for name in strange)
        reading.foreign.append(f"it has tensors of other kinds: {', '.join(list(patterns)[:3])}")
    reading.shapes = {name: tensor.shape for name, tensor in ledger.tensors.items()}
    try:
        reading.values |= reading.family.read(reading.shapes, Overrides())
    except VitConvertError as error:
        reading.foreign.append(error.what)


def _attributes(model: nn.Module, name: str) -> set[Any]:
    return {getattr(module, name) for module in model.modules() if hasattr(module, name)}


def _one(found: Iterable[Any]) -> Any:
    found = sorted(set(found))
    if len(found) == 1:
        return found[0]
    return f"<{' and '.join(map(str, found))}>"


def _attentions(block: nn.Module) -> list[nn.Module]:
    return [module for module in block.modules() if hasattr(module, "num_heads")]


def _norm(model: nn.Module) -> str:
    kinds = {type(module).__name__ for module in model.modules() if hasattr(module, "eps")}
    words = {"LayerNorm": "layer", "RmsNorm": "rms"}
    return str(_one({words.get(kind, f"<{kind}>") for kind in kinds}))


def _activation(reading: Reading, model: nn.Module) -> str:
    """The MLPs'; gated ones have SiLU, which is no choice here."""
    found = set()
    for module in model.modules():
        if not (hasattr(module, "fc2") and hasattr(module, "act")):
            continue
        act, kind = module.act, type(module).__name__
        name = type(act).__name__
        if kind in ("SwiGLU", "GluMlp"):
            if name != "SiLU" or getattr(module, "gate_last", False):
                reading.problems.append(f"gated MLPs with {name}")
            continue
        known = {"QuickGELU": "quick", "GELUTanh": "tanh", "ReLU": "relu", "SiLU": "silu"}
        words = known.get(name, f"<{name}>")
        if isinstance(act, nn.GELU):
            words = "erf" if act.approximate == "none" else "tanh"
        found.add(words)
    return str(_one(found)) if found else "erf"


def _position(model: nn.Module) -> str:
    if getattr(model, "pos_embed", None) is None:
        return "none"
    prefix = getattr(model, "num_prefix_tokens", 0)
    return "patches" if prefix and getattr(model, "no_embed_class", False) else "all"


def _norm_position(reading: Reading, blocks: Iterable[nn.Module]) -> str:
    kinds = {type(block).__name__ for block in blocks}
    words = {"ResPostBlock": "res-post", "EvaBlockPostNorm": "res-post"}
    known = {"Block", "EvaBlock", "ParallelThingsBlock", "Qwen3VitBlock", *words}
    if kinds - known:
        reading.problems.append(f"blocks of another kind ({', '.join(sorted(kinds - known))})")
    return str(_one({words.get(kind, "pre") for kind in kinds}))


def _rotary(model: nn.Module, blocks: list[nn.Module]) -> Mapping[str, Any]:
    """The kind by the module that makes the angles, and by how attention applies them."""
    rope = getattr(model, "rope", None)
    if rope is None:
        return {"rotary": "none"}
    half = {getattr(block.attn, "rotate_half", False) for block in blocks}
    kind = type(rope).__name__.removeprefix("RotaryEmbedding")
    first = getattr(rope, "grid_indexing", "ij"), getattr(rope, "grid_offset", 0.0)
    usual = {
        "in_pixels": False,
        "grid_type": "index",
        "normalize_coords": "separate",
        "linear_bands": False,
        "min_period": None,
        "max_period": None,
        "mrope_section": None,
    }
    odd = {k: getattr(rope, k) for k in usual if getattr(rope, k, usual[k]) != usual[k]}
    found: dict[str, Any] = {"rotary_base": float(getattr(rope, "temperature", 0) or 0)}
    from_one = float(getattr(model, "num_prefix_tokens", 0) > 0)
    scaled = getattr(rope, "ref_feat_shape", None)
    grid = tuple(scaled or model.patch_embed.grid_size)
    if (kind, half, odd, first) == ("Cat", {False}, {}, ("ij", 0.0)):
        return {**found, "rotary": "eva02", "rotary_grid": grid}
    if (kind, half, odd, first) == ("Cat", {False}, {}, ("xy", from_one)) and scaled:
        return {**found, "rotary": "pe", "rotary_grid": grid}
    if (kind, half, odd, first) == ("Cat", {False}, {}, ("xy", 0.0)):
        return {**found, "rotary": "axial"}
    if (kind, half, odd, first) == ("Mixed", {False}, {}, ("xy", 0.0)):
        return {"rotary": "mixed"}
    if (kind, half, odd, first) == ("DinoV3", {True}, {}, ("ij", 0.0)):
        return {**found, "rotary": "dinov3"}
    odd |= {"grid_indexing": first[0]} if first[0] != "ij" else {}
    odd |= {"grid_offset": first[1]} if first[1] else {}
    words = [_KINDS.get(kind, kind), *(_ODD.get((k, v), f"{k} {v}") for k, v in odd.items())]
    if half == {True}:
        words.append("turned in halves")
    return {**found, "rotary": f"<{', '.join(words)}>"}


_KINDS = {"Cat": "axial", "DinoV3": "as DINOv3's", "Mixed": "mixed", "MRope": "multimodal"}
_ODD = {("grid_indexing", "xy"): "columns first", ("grid_offset", 1.0): "counted from 1"}
