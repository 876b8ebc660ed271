"""Hugging Face transformers' ViT, ViTMSN, I-JEPA and DeiT.

https://github.com/huggingface/transformers, models/{vit,vit_msn,ijepa,deit}. Its files keep the
names of transformers 4, those that `save_pretrained` of version 5 writes too; the state dict of a
model in memory has the names of its version.
"""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures import Fact
from vit_convert.dialects.beside_the_tower import DECODER, DEPTH_HEAD, TEXT_TOWER
from vit_convert.dialects.rules import (
    Dialect,
    Ignore,
    Rule,
    defaults,
    joining,
    published,
    renamed,
)
from vit_convert.dialects.transforms import joined

OLD_LAYER, NEW_LAYER = "{body}encoder.layer.{i}", "{body}layers.{i}"
OLD_QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
NEW_QKV = tuple(f"attention.{part}_proj" for part in "qkv")
OLD_OUTPUT, NEW_OUTPUT = "attention.output.dense", "attention.o_proj"

MASK_TOKEN = Ignore("{body}embeddings.mask_token", "stands for masked patches in pre-training only")
CLASS_TOKEN = renamed("{body}embeddings.cls_token", "cls_token")
PATCHES = renamed("{body}embeddings.patch_embeddings.projection.{leaf}", "patch_embed.proj.{leaf}")
POSITIONS = renamed("{body}embeddings.position_embeddings", "pos_embed")
_NORM = renamed("{body}layernorm.{leaf}", "norm.{leaf}")
CLASSIFIER = renamed("classifier.{leaf}", "head.{leaf}")
# of a VisionEncoderDecoderModel, a VisionTextDualEncoderModel and a DPT
_BESIDE = (
    *DECODER,
    *TEXT_TOWER,
    *DEPTH_HEAD,
    Ignore("visual_projection.weight", "projects the pooler's output, to compare it with texts"),
)


def qkv_rule(layer: str, parts: tuple[str, ...], leaf: str = "{leaf}") -> Rule:
    """q, k and v of a block, one after the other."""
    sources = [f"{layer}.{part}.{leaf}" for part in parts]
    return joining(sources, f"blocks.{{i}}.attn.qkv.{leaf}", joined(3))


def block_rules(layer: str, new: bool) -> tuple[Rule, ...]:
    """What stands in a block beside q, k and v."""
    names = {
        NEW_OUTPUT if new else OLD_OUTPUT: "attn.proj",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "mlp.fc1" if new else "intermediate.dense": "mlp.fc1",
        "mlp.fc2" if new else "output.dense": "mlp.fc2",
    }
    return tuple(
        renamed(f"{layer}.{source}.{{leaf}}", f"blocks.{{i}}.{target}.{{leaf}}")
        for source, target in names.items()
    )


def in_block_0(layer: str, name: str) -> str:
    """A tensor of the first block, for a marker."""
    return f"{layer}.{name}".replace("{i}", "0")


def version(new: bool) -> tuple[str, str]:
    """The suffixes of the dialect's name and title."""
    return ("-5", ", names of transformers 5 in memory") if new else ("", "")


def shared_facts(model: str, **others: object) -> dict[str, Fact]:
    """Facts that all these models share, and `others`: the defaults of their image processors, and
    what else the model has by default."""
    facts = published(
        f"transformers' {model}", norm_position="pre", position="all", pos_embed="bicubic"
    )
    usual = {"gelu": "erf", "norm_eps": 1e-12, "crop_mode": "squash", **others}
    return {**facts, **defaults(f"transformers' {model}", **usual)}


def _pooler(features: str) -> Ignore:
    return Ignore(
        "{body}pooler.dense.{leaf}",
        f"the pooler's layer: features are {features}, as last_hidden_state has it",
    )


def _vit(new: bool, layer: str = "", suffix: str = "", title: str = "ViT") -> Dialect:
    end, words = version(new)
    parts = NEW_QKV if new else OLD_QKV
    layer = layer or (NEW_LAYER if new else OLD_LAYER)
    return Dialect(
        name=f"transformers-vit{suffix}{end}",
        architecture="vit",
        title=f"transformers' {title}{words}",
        marker=in_block_0(layer, f"{parts[0]}.weight"),
        bodies=("vit.",) if layer.startswith("encoder") else ("vit.", ""),
        rules=(
            CLASS_TOKEN,
            PATCHES,
            POSITIONS,
            qkv_rule(layer, parts),
            *block_rules(layer, new),
            _NORM,
            CLASSIFIER,
        ),
        ignored=(MASK_TOKEN, _pooler("the normed class token"), *_BESIDE),
        facts={
            **shared_facts("ViT", interpolation="bilinear", crop_pct=1.0),
            **published("transformers' ViT", pool="token"),
        },
        library="transformers",
        sidecar=True,
    )


def _ijepa(new: bool) -> Dialect:
    """A ViT without class token; the classifier reads the mean of the normed patches."""
    end, words = version(new)
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    return Dialect(
        name=f"transformers-ijepa{end}",
        architecture="vit",
        title=f"transformers' I-JEPA{words}",
        marker=in_block_0(layer, f"{parts[0]}.weight"),
        bodies=("ijepa.", ""),
        rules=(
            PATCHES,
            POSITIONS,
            qkv_rule(layer, parts),
            *block_rules(layer, new),
            _NORM,
            CLASSIFIER,
        ),
        ignored=(MASK_TOKEN, _pooler("the mean of the normed patches")),
        facts={
            **shared_facts("I-JEPA", interpolation="bilinear", crop_pct=1.0),
            **published("transformers' I-JEPA", pool="avg"),
        },
        library="transformers",
        sidecar=True,
    )


def _deit(new: bool, single: bool) -> Dialect:
    """With a head for each of the two tokens; or `single`, DeiTForImageClassification, with one for
    the class token, so that the distillation token is like a register."""
    end, words = version(new)
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    two_heads = (
        renamed("cls_classifier.{leaf}", "head.{leaf}"),
        renamed("distillation_classifier.{leaf}", "head_dist.{leaf}"),
    )
    facts = shared_facts("DeiT", interpolation="bicubic", crop_pct=224 / 256)
    if single:
        facts |= published("transformers' DeiT with one head", pool="token", position="all")
    return Dialect(
        name=f"transformers-deit{'-single' if single else ''}{end}",
        architecture="vit",
        title=f"transformers' DeiT{' with one head' if single else ''}{words}",
        marker="{body}embeddings.distillation_token",
        bodies=("deit.", ""),
        rules=(
            CLASS_TOKEN,
            PATCHES,
            renamed("{body}embeddings.distillation_token", "reg_token" if single else "dist_token"),
            POSITIONS,
            qkv_rule(layer, parts),
            *block_rules(layer, new),
            _NORM,
            *((CLASSIFIER,) if single else two_heads),
        ),
        ignored=(
            MASK_TOKEN,
            _pooler("the mean of the normed class and distillation tokens"),
            *_BESIDE,
        ),
        facts=facts,
        library="transformers",
        sidecar=True,
    )


TRANSFORMERS_VIT, TRANSFORMERS_VIT_5 = _vit(new=False), _vit(new=True)
# transformers 5 saves a ViTMSNForImageClassification's layers without their prefix
_MSN = _vit(
    new=False,
    layer="encoder.layer.{i}",
    suffix="-msn",
    title="ViTMSN, as transformers 5 saves its classifier",
)
TRANSFORMERS_VIT_MSN = replace(
    _MSN, facts={**_MSN.facts, **defaults("transformers' ViTMSN", norm_eps=1e-6)}
)
TRANSFORMERS_IJEPA, TRANSFORMERS_IJEPA_5 = _ijepa(new=False), _ijepa(new=True)
TRANSFORMERS_DEIT, TRANSFORMERS_DEIT_5 = _deit(False, single=False), _deit(True, single=False)
TRANSFORMERS_DEIT_SINGLE = _deit(False, single=True)
TRANSFORMERS_DEIT_SINGLE_5 = _deit(True, single=True)
