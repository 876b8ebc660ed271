"""Hugging Face transformers' BEiT and data2vec-vision, and InternVL's tower.

https://github.com/huggingface/transformers, models/{beit,data2vec,internvl}.
"""

from __future__ import annotations

from vit_convert.dialects.attention_transforms import BIAS_WITHOUT_KEYS
from vit_convert.dialects.beside_the_tower import DECODER, LANGUAGE_MODEL
from vit_convert.dialects.rules import Dialect, Ignore, Rule, joining, renamed
from vit_convert.dialects.transformers_vit import (
    CLASS_TOKEN,
    CLASSIFIER,
    MASK_TOKEN,
    NEW_LAYER,
    NEW_QKV,
    OLD_LAYER,
    OLD_QKV,
    PATCHES,
    POSITIONS,
    block_rules,
    in_block_0,
    qkv_rule,
    shared_facts,
    version,
)

_TABLE = "relative_position_bias.relative_position_bias_table"
_INDEX = "is computed from the grid"


def _layer_scale(layer: str) -> tuple[Rule, ...]:
    return (
        renamed(f"{layer}.lambda_1", "blocks.{i}.ls1.gamma"),
        renamed(f"{layer}.lambda_2", "blocks.{i}.ls2.gamma"),
    )


def _beit(new: bool, masked: bool) -> Dialect:
    """A classifier or a model alone; or `masked`, BeitForMaskedImageModeling, whose norm stands
    outside the body."""
    end, words = version(new)
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    shared = "{body}shared_position_bias" if new else "{body}encoder.relative_position_bias"
    place = layer if new else f"{layer}.attention.attention"
    biases = (f"{layer}.{parts[0]}.bias", f"{layer}.{parts[2]}.bias")
    around: tuple[Rule, ...] = (
        renamed("{body}layernorm.{leaf}", "norm.{leaf}"),
        renamed("{body}pooler.layernorm.{leaf}", "fc_norm.{leaf}"),
        CLASSIFIER,
    )
    ignored: tuple[Ignore, ...] = (
        MASK_TOKEN,
        *DECODER,
        Ignore(f"{place}.relative_position_bias.relative_position_index", _INDEX),
        Ignore(f"{shared}.relative_position_index", _INDEX),
    )
    if masked:
        around = (renamed("layernorm.{leaf}", "norm.{leaf}"),)
        ignored += (Ignore("lm_head.{leaf}", "predicts masked patches, in pre-training only"),)
    return Dialect(
        name=f"transformers-beit{'-masked' if masked else ''}{end}",
        architecture="vit",
        title=f"transformers' {'masked BEiT' if masked else 'BEiT or data2vec-vision'}{words}",
        marker=in_block_0(layer, f"{parts[0]}.weight"),
        bodies=("beit.",) if masked else ("beit.", "data2vec_vision.", ""),
        rules=(
            CLASS_TOKEN,
            PATCHES,
            POSITIONS,
            qkv_rule(layer, parts, "weight"),
            joining(biases, "blocks.{i}.attn.qkv.bias", BIAS_WITHOUT_KEYS),
            *block_rules(layer, new),
            *_layer_scale(layer),
            renamed(f"{place}.{_TABLE}", "blocks.{i}.attn.relative_position_bias_table"),
            renamed(
                f"{shared}.relative_position_bias_table",
                "rel_pos_bias.relative_position_bias_table",
            ),
            *around,
        ),
        ignored=ignored,
        facts=shared_facts("BEiT", interpolation="bicubic", crop_pct=1.0),
        library="transformers",
        sidecar=True,
    )


def _internvl() -> Dialect:
    """The tower of InternVLForConditionalGeneration, a ViT with LayerScale."""
    layer = OLD_LAYER
    return Dialect(
        name="transformers-internvl",
        architecture="vit",
        title="transformers' InternVL image tower",
        marker=in_block_0(layer, "attention.projection_layer.weight"),
        bodies=("vision_tower.", ""),
        rules=(
            CLASS_TOKEN,
            PATCHES,
            POSITIONS,
            qkv_rule(layer, NEW_QKV),
            renamed(f"{layer}.attention.projection_layer.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
            *(rule for rule in block_rules(layer, True) if "o_proj" not in rule.sources[0]),
            *_layer_scale(layer),
            renamed("{body}layernorm.{leaf}", "norm.{leaf}"),
        ),
        ignored=(MASK_TOKEN, *LANGUAGE_MODEL),
        refused=tuple(
            Ignore(
                f"{layer}.attention.{part}_norm.weight",
                "RMSNorm over all heads of q and k (use_qk_norm) is not supported",
            )
            for part in "qk"
        ),
        facts=shared_facts(
            "InternVL", interpolation="bicubic", crop_pct=1.0, norm_eps=1e-6, pool="avg"
        ),
        library="transformers",
        sidecar=True,
    )


TRANSFORMERS_BEIT = _beit(new=False, masked=False)
TRANSFORMERS_BEIT_5 = _beit(new=True, masked=False)
TRANSFORMERS_BEIT_MASKED = _beit(new=False, masked=True)
TRANSFORMERS_BEIT_MASKED_5 = _beit(new=True, masked=True)
TRANSFORMERS_INTERNVL = _internvl()
