"""Hugging Face transformers' AIMv2: `Aimv2VisionModel` without a head.

https://github.com/huggingface/transformers, models/aimv2. RMSNorm, SwiGLU, and hardly any bias.
"""

from __future__ import annotations

from vit_convert.dialects.beside_the_tower import TEXT_TOWER
from vit_convert.dialects.clip import CLIP_PICTURES
from vit_convert.dialects.rules import Dialect, Ignore, defaults, joining, published, renamed
from vit_convert.dialects.transforms import joined, with_axes

_LAYER = "{body}encoder.layers.{i}"
_PARTS = [f"{_LAYER}.attention.{part}_proj.{{leaf}}" for part in "qkv"]
_MLP = {"gate_proj": "fc1_g", "up_proj": "fc1_x", "down_proj": "fc2"}
_HEAD = ("cls_token", "k_proj.{leaf}", "v_proj.{leaf}", "output_proj.{leaf}")

TRANSFORMERS_AIMV2 = Dialect(
    name="transformers-aimv2",
    architecture="vit",
    title="transformers' AIMv2",
    # a native one, which computes its positions from the picture's size, has none
    marker="{body}embeddings.position_embedding.weight",
    bodies=("vision_model.", ""),
    rules=(
        renamed("{body}embeddings.patch_embed.{leaf}", "patch_embed.proj.{leaf}"),
        renamed("{body}embeddings.rms_norm.weight", "patch_embed.norm.weight"),
        renamed("{body}embeddings.position_embedding.weight", "pos_embed", with_axes(1)),
        renamed(f"{_LAYER}.rms_norm1.weight", "blocks.{i}.norm1.weight"),
        joining(_PARTS, "blocks.{i}.attn.qkv.{leaf}", joined(3)),
        renamed(f"{_LAYER}.attention.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
        renamed(f"{_LAYER}.rms_norm2.weight", "blocks.{i}.norm2.weight"),
        *(
            renamed(f"{_LAYER}.ffn.{source}.{{leaf}}", f"blocks.{{i}}.mlp.{target}.{{leaf}}")
            for source, target in _MLP.items()
        ),
        renamed("{body}rms_norm.weight", "norm.weight"),
    ),
    ignored=TEXT_TOWER,
    refused=tuple(
        Ignore(f"{{body}}head.{name}", "attention pooling by a query as it is (use_head)")
        for name in _HEAD
    ),
    facts={
        **published(
            "transformers' AIMv2",
            norm_position="pre",
            position="all",
            pool="avg",
            pos_embed="bicubic",
        ),
        **defaults("transformers' AIMv2", norm_eps=1e-5, **CLIP_PICTURES),
    },
    library="transformers",
    sidecar=True,
)
