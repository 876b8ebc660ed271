"""Hugging Face transformers' SigLIP and SigLIP 2, and the towers that are made like it.

https://github.com/huggingface/transformers, models/{siglip,siglip2,idefics3,smolvlm,paligemma}. The
SigLIP 2 of a fixed resolution are SigLIP's class; NaFlex's own embeds patches that are cut out
already, and is here the model of square pictures that its position embedding is for.
"""

from __future__ import annotations

from vit_convert.architectures import Fact
from vit_convert.dialects.attention_transforms import Q_AND_KV
from vit_convert.dialects.beside_the_tower import LANGUAGE_MODEL, TEXT_TOWER
from vit_convert.dialects.rules import Dialect, Ignore, Rule, defaults, published, renamed
from vit_convert.dialects.transformers_clip import (
    POSITION_IDS,
    POSITIONS,
    POST_NORM,
    tower_blocks,
)
from vit_convert.dialects.transforms import CONVOLUTION, CUT_OUT_PATCHES

_POOL = (
    renamed("{body}head.probe", "attn_pool.latent"),
    Rule(
        ("{body}head.attention.in_proj_{leaf}",),
        ("attn_pool.q.{leaf}", "attn_pool.kv.{leaf}"),
        Q_AND_KV,
    ),
    renamed("{body}head.attention.out_proj.{leaf}", "attn_pool.proj.{leaf}"),
    renamed("{body}head.layernorm.{leaf}", "attn_pool.norm.{leaf}"),
    renamed("{body}head.mlp.fc1.{leaf}", "attn_pool.mlp.fc1.{leaf}"),
    renamed("{body}head.mlp.fc2.{leaf}", "attn_pool.mlp.fc2.{leaf}"),
)
_UNREAD_POOL = tuple(
    Ignore(f"{{body}}head.{name}", "attention pooling, which this classifier does not read")
    for name in (
        "probe",
        "attention.in_proj_{leaf}",
        "attention.out_proj.{leaf}",
        "layernorm.{leaf}",
        "mlp.fc1.{leaf}",
        "mlp.fc2.{leaf}",
    )
)


def _facts(pool: str) -> dict[str, Fact]:
    return {
        **published(
            "transformers' SigLIP",
            norm_position="pre",
            position="all",
            pos_embed="bicubic",
            pool=pool,
        ),
        **defaults(
            "transformers' SigLIP",
            gelu="tanh",
            norm_eps=1e-6,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bicubic",
            crop_pct=1.0,
            crop_mode="squash",
        ),
    }


def _siglip(pooled: bool, naflex: bool = False) -> Dialect:
    """With attention pooling; or without: what a classifier reads, the mean of the normed patches.

    PaliGemma's, Idefics3's and SmolVLM's towers have no pooling of their own.
    """
    kind = f"transformers-siglip{'2' if naflex else ''}"
    title = f"transformers' SigLIP{' 2 (NaFlex)' if naflex else ''}"
    return Dialect(
        name=kind if pooled else f"{kind}-avg",
        architecture="vit",
        title=f"{title} image tower" if pooled else f"{title} without attention pooling",
        marker="{body}head.probe" if pooled else "{body}embeddings.patch_embedding.bias",
        bodies=("vision_model.", ""),
        rules=(
            renamed(
                "{body}embeddings.patch_embedding.weight",
                "patch_embed.proj.weight",
                CUT_OUT_PATCHES if naflex else CONVOLUTION,
            ),
            renamed("{body}embeddings.patch_embedding.bias", "patch_embed.proj.bias"),
            POSITIONS,
            *tower_blocks(),
            POST_NORM,
            *(_POOL if pooled else (renamed("classifier.{leaf}", "head.{leaf}"),)),
        ),
        ignored=(
            *TEXT_TOWER,
            POSITION_IDS,
            *LANGUAGE_MODEL,
            *(() if pooled else _UNREAD_POOL),
        ),
        facts=_facts("map" if pooled else "avg"),
        library="transformers",
        sidecar=True,
    )


TRANSFORMERS_SIGLIP = _siglip(pooled=True)
TRANSFORMERS_SIGLIP_AVG = _siglip(pooled=False)
TRANSFORMERS_SIGLIP2 = _siglip(pooled=True, naflex=True)
TRANSFORMERS_SIGLIP2_AVG = _siglip(pooled=False, naflex=True)
