"""The configuration of a Vision Transformer, from the names and shapes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vit_convert.architectures.base import (
    Fact,
    Overrides,
    Position,
    Preprocessing,
    Recognition,
    TransformerConfig,
)
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.recognition import (
    depth_of,
    settle,
    shape_of,
    source_image_size,
)
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.pooling_recognition import read_attention_pool, with_pooling
from vit_convert.architectures.vit.relative_position import grid_patches
from vit_convert.architectures.vit.relative_position_variants import RELATIVE_POSITION_VARIANTS
from vit_convert.architectures.vit.rotary_recognition import rotary_facts
from vit_convert.architectures.vit.variants import VARIANTS
from vit_convert.errors import RecognitionError, UsageError

ALL_VARIANTS = (*VARIANTS, *RELATIVE_POSITION_VARIANTS)


def recognise_vit(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`.

    Raises:
        RecognitionError, UsageError: as `settle`; or the tensors are those of a model that is not
            supported, or contradict each other.
    """
    _refuse(shapes)
    dim, channels, *patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    patch_size = (patch[0], patch[1])
    read: dict[str, Any] = {
        "patch_size": patch_size,
        "in_channels": channels,
        "num_classes": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "embed_dim": dim,
        "depth": depth_of(shapes, "blocks"),
        "class_token": "cls_token" in shapes,
        "distilled": "dist_token" in shapes,
        "reg_tokens": shape_of(shapes, "reg_token", 3)[1] if "reg_token" in shapes else 0,
        "patch_bias": "patch_embed.proj.bias" in shapes,
        "pre_norm": "norm_pre.weight" in shapes,
        "final_norm": "norm.weight" in shapes,
        "fc_norm": "fc_norm.weight" in shapes,
        "head_bias": "head.bias" in shapes or "head.weight" not in shapes,
        "patch_norm": "patch_embed.norm.weight" in shapes,
        **_read_block(shapes),
        **_read_relative_position(shapes),
        **_read_frequencies(shapes),
        **read_attention_pool(shapes),
    }
    if "head_dim" in overrides.stated:
        read["num_heads"] = dim // overrides.stated["head_dim"].value
    if read["mlp"] != "plain" and overrides.gelu:
        raise UsageError(
            "the checkpoint's MLPs are gated, and their gate is SiLU here",
            where=f"--gelu {overrides.gelu}",
            expected="no --gelu; gates of another activation are not supported",
        )
    pool = _pool(shapes, read, overrides)
    read["pool"] = pool.value
    read |= _read_position(shapes, read, overrides)
    norm = _norm(read, overrides)
    read["norm"] = norm.value
    rotary = rotary_facts(read, ALL_VARIANTS, overrides, hint)
    overrides = replace(overrides, stated={**overrides.stated, **rotary})
    found = settle(ALL_VARIANTS, read, ViTConfig, overrides, hint, Preprocessing())
    found = replace(found, facts={**found.facts, "norm": norm})
    found = with_pooling(found, overrides)
    _refuse_combinations(found.config)
    if pool.provenance == "assumed" and rotary["rotary"].value == "dinov3":
        why = "as DINOv3's authors have it; timm's models average the patches by default"
        pool = replace(pool, why=why)
    elif pool.provenance == "assumed" and found.variant:
        pool = Fact(pool.value, "published", f"as published for {found.variant}")
    found = replace(found, facts={**found.facts, "pool": pool})
    stated = found.variant or overrides.trained_size or overrides.fact("position")
    if read["position"] in ("class", "patches") and not stated:
        why = "their number makes a square; --image-size if the pictures were none"
        facts = found.facts | {"position": Fact(read["position"], "assumed", why)}
        return replace(found, facts=facts)
    return found


def _refuse(shapes: Mapping[str, Shape]) -> None:
    """Raises RecognitionError for what is no part of any model here."""
    patches, tokens = (shapes.get(name, ()) for name in ("patch_embed.proj.weight", "cls_token"))
    if len(patches) == 5:
        raise RecognitionError(
            "its patches span several frames, as those of models that read videos",
            where=f"patch_embed.proj.weight {patches}",
        )
    if len(tokens) == 3 and tokens[1] != 1:
        raise RecognitionError(
            f"there are {tokens[1]} class tokens, where a ViT has one", where=f"cls_token {tokens}"
        )
    if "dist_token" in shapes and "cls_token" not in shapes:
        raise RecognitionError(
            "there is a distillation token but no class token", where="dist_token"
        )
    if "dist_token" in shapes and "fc_norm.weight" in shapes:
        raise RecognitionError("a distilled DeiT has no norm after pooling", where="fc_norm.weight")


def _refuse_combinations(config: TransformerConfig) -> None:
    """Raises RecognitionError for options that no model has together, so that nothing else has to
    give them a meaning."""
    assert isinstance(config, ViTConfig)
    blocks = config.norm_position, config.rel_pos
    wrong = {
        "parallel blocks are pre-norm, without a relative position bias": (
            config.parallel > 1 and blocks != ("pre", "none")
        ),
        "a relative position bias is for one class token and the patches": (
            config.rel_pos != "none" and (config.num_prefix_tokens, config.class_token) != (1, True)
        ),
        "rotary embedding needs heads of a multiple of 4 channels": (
            config.rotary != "none" and config.head_dim % 4 > 0
        ),
        "rotary embedding goes with neither parallel blocks nor relative positions": (
            config.rotary != "none" and (config.parallel > 1 or config.rel_pos != "none")
        ),
        "LayerScale goes with pre-norm blocks": (
            config.layer_scale and config.norm_position != "pre"
        ),
        "attention pooling goes with plain MLPs": config.pool == "map" and config.mlp != "plain",
        "a distilled DeiT has no registers and one token per head": (
            config.distilled and (config.reg_tokens > 0 or config.pool != "token")
        ),
    }
    for why, holds in wrong.items():
        if holds:
            raise RecognitionError("the tensors are those of no model that is known", expected=why)


def _read_block(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The values that all blocks share, from block 0."""
    parallel = 1
    attn, mlp, scale = "blocks.0.attn", "blocks.0.mlp", "blocks.0.ls1.gamma"
    norm = "blocks.0.norm1"
    if "blocks.0.attns.0.attn.qkv.weight" in shapes:
        parallel = sum(f"blocks.0.attns.{j}.attn.qkv.weight" in shapes for j in range(len(shapes)))
        attn, mlp = "blocks.0.attns.0.attn", "blocks.0.ffns.0.mlp"
        scale, norm = "blocks.0.attns.0.ls.gamma", "blocks.0.attns.0.norm"
    hidden = shape_of(shapes, f"{mlp}.fc2.weight", 2)[1]
    kind = "plain"
    if f"{mlp}.fc1_g.weight" in shapes:
        kind = "swiglu"
    elif shape_of(shapes, f"{mlp}.fc1.weight", 2)[0] == 2 * hidden:
        kind = "swiglu-packed"
    return {
        "mlp_dim": hidden,
        "parallel": parallel,
        "mlp": kind,
        "mlp_norm": f"{mlp}.norm.weight" in shapes,
        "qkv_bias": f"{attn}.qkv.bias" in shapes,
        "qk_norm": f"{attn}.q_norm.weight" in shapes,
        "attn_norm": f"{attn}.norm.weight" in shapes,
        "norm_bias": f"{norm}.bias" in shapes,
        "proj_bias": f"{attn}.proj.bias" in shapes,
        "mlp_bias": f"{mlp}.fc2.bias" in shapes,
        "layer_scale": scale in shapes,
        "mlp_layer_scale": parallel > 1 or scale not in shapes or "blocks.0.ls2.gamma" in shapes,
    }


_TABLES = {
    "blocks": "blocks.0.attn.relative_position_bias_table",
    "shared": "rel_pos_bias.relative_position_bias_table",
}


def _read_relative_position(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    for kind, name in _TABLES.items():
        if name in shapes:
            return {"rel_pos": kind, "num_heads": shape_of(shapes, name, 2)[1]}
    return {"rel_pos": "none"}


def _norm(read: Mapping[str, Any], overrides: Overrides) -> Fact:
    """Norms without a bias are RMSNorms in all published models."""
    if stated := overrides.fact("norm"):
        if stated.value == "rms" and read["norm_bias"]:
            raise UsageError(
                "the checkpoint's norms have a bias, which an RMSNorm has not",
                where="--norm rms",
                expected="layer, or no option",
            )
        return stated
    if read["norm_bias"]:
        return Fact("layer", "read", "norms have a bias")
    return Fact("rms", "assumed", "norms have no bias; a LayerNorm without one looks the same")


def _read_frequencies(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Learned frequencies of rotary position embedding, (2, blocks, heads, head_dim / 2)."""
    if "rope.freqs" not in shapes:
        return {}
    return {"rotary": "mixed", "num_heads": shape_of(shapes, "rope.freqs", 4)[2]}


def _pool(shapes: Mapping[str, Shape], read: Mapping[str, Any], overrides: Overrides) -> Fact:
    """Attention and class token beside mean can be told; else only that there is a class token."""
    has_map = "attn_pool.latent" in shapes
    stated = overrides.fact("pool")
    if stated and stated.provenance == "given":
        pool = stated
    elif has_map or shapes.get("head.weight", (0, 0))[1:] == (2 * read["embed_dim"],):
        pool = Fact("map" if has_map else "token-avg", "read", "from names and shapes")
    elif read["distilled"]:
        pool = Fact("token", "read", "there is a distillation token")
    elif stated:
        pool = stated
    else:
        usual = "token" if read["class_token"] and not read["fc_norm"] else "avg"
        pool = Fact(usual, "assumed", "other ways of pooling have the same tensors")
    with_token = pool.value in ("token", "token-avg")
    if (pool.value == "map") != has_map or (with_token and not read["class_token"]):
        raise UsageError(
            f"the checkpoint's tensors are not those of a model with {pool.value!r} pooling",
            where=f"--pool {pool.value}",
            expected='"map" with attn_pool.latent; "token" with a class token',
        )
    return pool


def _read_position(
    shapes: Mapping[str, Shape], read: Mapping[str, Any], overrides: Overrides
) -> dict[str, Any]:
    """The image size, and which tokens the position embedding covers."""
    patch_size, wanted = read["patch_size"], overrides.trained_size
    if "pos_embed" not in shapes:
        if read["rel_pos"] == "none":
            return {"position": "none"}  # and nothing tells the image size
        return {
            "position": "none",
            "image_size": _size_of_table(shapes, read, wanted),
        }
    tokens = shape_of(shapes, "pos_embed", 3)[1]
    registers = read["reg_tokens"]
    others = int(read["class_token"]) + int(read["distilled"])
    candidates: dict[Position, int] = {"all": others + registers}
    if registers and others:
        candidates["class"] = others
    if registers or others:
        candidates["patches"] = 0
    fact = overrides.fact("position")
    stated: Position | None = fact.value if fact else None
    if stated is not None and stated not in candidates:
        raise UsageError(
            f"the checkpoint's tensors are not those of a model with {stated!r}",
            where=f"--position {stated}",
            expected=" or ".join(candidates),
        )
    fitting = [
        position
        for position, prefix in candidates.items()
        if stated in (None, position) and _is_grid(tokens - prefix, patch_size, wanted)
    ]
    position = fitting[0] if fitting else stated or "all"
    prefix = candidates[position]  # where nothing fits, source_image_size says what is wrong
    return {
        "position": position,
        "image_size": source_image_size(tokens - prefix, patch_size, wanted),
    }


def _is_grid(patches: int, patch_size: tuple[int, int], wanted: tuple[int, int] | None) -> bool:
    if patches <= 0:
        return False
    if wanted and (wanted[0] // patch_size[0]) * (wanted[1] // patch_size[1]) == patches:
        return True
    return math.isqrt(patches) ** 2 == patches


def _size_of_table(
    shapes: Mapping[str, Shape], read: Mapping[str, Any], wanted: tuple[int, int] | None
) -> tuple[int, int]:
    name = _TABLES[read["rel_pos"]]
    patch_size: tuple[int, int] = read["patch_size"]
    grid = (wanted[0] // patch_size[0], wanted[1] // patch_size[1]) if wanted else None
    return source_image_size(grid_patches(shapes[name][0], grid), patch_size, wanted)
