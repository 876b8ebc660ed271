"""The values of a Vision Transformer that the names and shapes of its tensors tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures.base import Overrides
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.recognition import depth_of, shape_of
from vit_convert.errors import RecognitionError

TABLES = {
    "blocks": "blocks.0.attn.relative_position_bias_table",
    "shared": "rel_pos_bias.relative_position_bias_table",
}


def read_vit(shapes: Mapping[str, Shape], overrides: Overrides) -> dict[str, Any]:
    """Field of the configuration -> its value, of those that no two models with these tensors have
    different values of.

    Raises:
        RecognitionError: the tensors are those of a model that is not supported, or contradict each
            other.
    """
    _refuse(shapes)
    dim, channels, *patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    read: dict[str, Any] = {
        "patch_size": (patch[0], patch[1]),
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
        "projection": 0,  # words make classifiers that have one, and no checkpoint is one
        "unit_features": False,
        **_read_block(shapes, dim),
        **_read_relative_position(shapes),
        **_read_frequencies(shapes),
        **_read_pool(shapes, dim),
    }
    if read["norm_bias"]:
        read["norm"] = "layer"  # an RMSNorm has none
    if "head_dim" in overrides.stated:
        read["num_heads"] = dim // overrides.stated["head_dim"].value
    if "pos_embed" not in shapes:
        read["position"] = "none"
    elif not (read["class_token"] or read["distilled"] or read["reg_tokens"]):
        read["position"] = "all"  # there are patches only
    return read


def lengths(shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Rows of the position embedding and of the relative position bias's table, 0 for none."""
    table = next((shapes[name] for name in TABLES.values() if name in shapes), (0,))
    embedding = shape_of(shapes, "pos_embed", 3)[1] if "pos_embed" in shapes else 0
    return embedding, table[0]


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


def _read_block(shapes: Mapping[str, Shape], dim: int) -> dict[str, Any]:
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
    read: dict[str, Any] = {
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
    if read["qk_norm"]:
        head = shape_of(shapes, f"{attn}.q_norm.weight", 1)[0]
        if dim % head:
            raise RecognitionError(
                f"a head of {head} channels does not divide the width {dim}",
                where=f"{attn}.q_norm.weight",
                expected="a norm over the channels of one head",
            )
        read["num_heads"] = dim // head
    return read


def _read_relative_position(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    for kind, name in TABLES.items():
        if name in shapes:
            return {"rel_pos": kind, "num_heads": shape_of(shapes, name, 2)[1]}
    return {"rel_pos": "none"}


def _read_frequencies(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Learned frequencies of rotary position embedding, (2, blocks, heads, head_dim / 2)."""
    if "rope.freqs" not in shapes:
        return {}
    return {"rotary": "mixed", "num_heads": shape_of(shapes, "rope.freqs", 4)[2]}


def _read_pool(shapes: Mapping[str, Shape], dim: int) -> dict[str, Any]:
    """Attention and its MLP's width, class token beside mean, and two tokens with two heads."""
    if "attn_pool.latent" in shapes:
        name = "attn_pool.mlp.fc2.weight"
        same = name not in shapes or shapes[name] == shapes.get("blocks.0.mlp.fc2.weight")
        return {"pool": "map", "pool_mlp_dim": None if same else shape_of(shapes, name, 2)[1]}
    if shapes.get("head.weight", (0, 0))[1:] == (2 * dim,):
        return {"pool": "token-avg", "pool_mlp_dim": None}
    told = {"pool": "token"} if "dist_token" in shapes else {}
    return {**told, "pool_mlp_dim": None}
