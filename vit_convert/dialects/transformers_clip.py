"""Hugging Face transformers' CLIP, and the towers that are made like it: OWL-ViT, BLIP, BLIP-2.

https://github.com/huggingface/transformers, models/{clip,owlvit,owlv2,blip,blip_2}. AltCLIP,
Chinese CLIP, MetaCLIP 2, CLIPSeg and LLaVA hold CLIP's own.
"""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures import Fact
from vit_convert.architectures.outputs import Head
from vit_convert.dialects.beside_the_tower import (
    DETECTION_HEADS,
    LANGUAGE_MODEL,
    TEXT_DECODERS,
    TEXT_TOWER,
)
from vit_convert.dialects.clip import CLIP_PICTURES
from vit_convert.dialects.rules import Dialect, Ignore, Rule, defaults, joining, published, renamed
from vit_convert.dialects.transforms import joined, with_axes

_LAYER = "{body}encoder.layers.{i}"
POSITION_IDS = Ignore("{body}embeddings.position_ids", "counts the positions")
PATCHES = renamed("{body}embeddings.patch_embedding.{leaf}", "patch_embed.proj.{leaf}")
POSITIONS = renamed("{body}embeddings.position_embedding.weight", "pos_embed", with_axes(1))
POST_NORM = renamed("{body}post_layernorm.{leaf}", "norm.{leaf}")
_CLASS_TOKEN = renamed("{body}embeddings.class_embedding", "cls_token", with_axes(2))
_PROJECTION = renamed("visual_projection.weight", "head.weight")
_CLIPSEG = Ignore("decoder.{rest}", "CLIPSeg's decoder, which paints masks")


def tower_blocks(attention: tuple[Rule, ...] = ()) -> tuple[Rule, ...]:
    """The rules of all blocks; `attention` in place of q, k, v and projection apart."""
    parts = [f"{_LAYER}.self_attn.{part}_proj.{{leaf}}" for part in "qkv"]
    apart = (
        joining(parts, "blocks.{i}.attn.qkv.{leaf}", joined(3)),
        renamed(f"{_LAYER}.self_attn.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
    )
    return (
        renamed(f"{_LAYER}.layer_norm1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
        *(attention or apart),
        renamed(f"{_LAYER}.layer_norm2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
        renamed(f"{_LAYER}.mlp.fc1.{{leaf}}", "blocks.{i}.mlp.fc1.{leaf}"),
        renamed(f"{_LAYER}.mlp.fc2.{{leaf}}", "blocks.{i}.mlp.fc2.{leaf}"),
    )


def _facts(model: str, **usual: object) -> dict[str, Fact]:
    return {
        **published(
            f"transformers' {model}", norm_position="pre", position="all", pos_embed="bicubic"
        ),
        **defaults(f"transformers' {model}", **{**CLIP_PICTURES, **usual}),
    }


def _clip(
    name: str,
    title: str,
    pre_norm: str,
    around: tuple[Rule, ...],
    ignored: tuple[Ignore, ...],
    model: str = "CLIP",
    **usual: object,
) -> Dialect:
    return Dialect(
        name=name,
        architecture="vit",
        title=title,
        marker=f"{{body}}{pre_norm}.weight",
        bodies=("vision_model.", ""),
        rules=(
            _CLASS_TOKEN,
            PATCHES,
            POSITIONS,
            renamed(f"{{body}}{pre_norm}.{{leaf}}", "norm_pre.{leaf}"),
            *tower_blocks(),
            *around,
        ),
        ignored=(*TEXT_TOWER, POSITION_IDS, *ignored),
        facts=_facts(model, gelu="quick", norm_eps=1e-5, **usual),
        library="transformers",
        sidecar=True,
    )


def _pooling(dialect: Dialect, pool: str) -> Dialect:
    head: Head = "projection" if _PROJECTION in dialect.rules else "classes"
    facts = {**dialect.facts, **published(dialect.title, pool=pool)}
    return replace(dialect, facts=facts, head=head)


TRANSFORMERS_CLIP = _pooling(
    _clip(
        "transformers-clip",
        "transformers' CLIP image tower",
        "pre_layrnorm",  # as it is spelled there
        (POST_NORM, _PROJECTION),
        (*LANGUAGE_MODEL, _CLIPSEG),
    ),
    "token",
)
# the classifier reads the mean of the patches, before the norm
TRANSFORMERS_CLIP_CLASSIFIER = _pooling(
    _clip(
        "transformers-clip-classifier",
        "transformers' CLIPForImageClassification",
        "pre_layrnorm",
        (renamed("classifier.{leaf}", "head.{leaf}"),),
        (
            Ignore(
                "{body}post_layernorm.{leaf}",
                "norms the class token, which CLIPForImageClassification does not read",
            ),
        ),
    ),
    "avg",
)
TRANSFORMERS_OWLVIT = _pooling(
    _clip(
        "transformers-owlvit",
        "transformers' OWL-ViT image tower",
        "pre_layernorm",
        (POST_NORM, _PROJECTION),
        DETECTION_HEADS,
        model="OWL-ViT",
        crop_mode="squash",
    ),
    "token",
)

_FUSED = (
    renamed(f"{_LAYER}.self_attn.qkv.{{leaf}}", "blocks.{i}.attn.qkv.{leaf}"),
    renamed(f"{_LAYER}.self_attn.projection.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
)

# without a norm before the blocks, and q, k and v as one
TRANSFORMERS_BLIP = Dialect(
    name="transformers-blip",
    architecture="vit",
    title="transformers' BLIP or BLIP-2 image tower",
    marker="{body}encoder.layers.0.self_attn.qkv.weight",
    bodies=("vision_model.", ""),
    rules=(
        renamed("{body}embeddings.class_embedding", "cls_token"),
        PATCHES,
        renamed("{body}embeddings.position_embedding", "pos_embed"),
        *tower_blocks(_FUSED),
        POST_NORM,
    ),
    ignored=TEXT_DECODERS,
    facts={
        **_facts("BLIP", gelu="erf", norm_eps=1e-5, crop_mode="squash"),
        **published("transformers' BLIP", pool="token"),
    },
    library="transformers",
    sidecar=True,
)
