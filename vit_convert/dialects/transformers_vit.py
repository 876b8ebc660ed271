"""Hugging Face transformers' ViT, DeiT and BEiT.

https://github.com/huggingface/transformers, models/{vit,deit,beit}. Its files keep the names of
transformers 4, those that `save_pretrained` of version 5 writes too; the state dict of a model in
memory has the names of its version.
"""

from __future__ import annotations

from vit_convert.architectures import Fact
from vit_convert.dialects.attention_transforms import BIAS_WITHOUT_KEYS
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
_POOLER = Ignore(
    "{body}pooler.dense.{leaf}",
    "the pooler's layer: features are the normed class token, as last_hidden_state has it",
)


def qkv_rule(layer: str, parts: tuple[str, ...], leaf: str = "{leaf}") -> Rule:
    """q, k and v of a block, one after the other."""
    sources = [f"{layer}.{part}.{leaf}" for part in parts]
    return joining(sources, f"blocks.{{i}}.attn.qkv.{leaf}", joined(3))


def _blocks(new: bool) -> tuple[Rule, ...]:
    layer = NEW_LAYER if new else OLD_LAYER
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


_EMBEDDINGS = (
    renamed("{body}embeddings.cls_token", "cls_token"),
    renamed("{body}embeddings.patch_embeddings.projection.{leaf}", "patch_embed.proj.{leaf}"),
)
_POSITIONS = renamed("{body}embeddings.position_embeddings", "pos_embed")
_NORM = renamed("{body}layernorm.{leaf}", "norm.{leaf}")


def _marker(new: bool) -> str:
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    return f"{layer}.{parts[0]}.weight".replace("{i}", "0")


def _version(new: bool) -> tuple[str, str]:
    """The suffixes of the dialect's name and title."""
    return ("-5", ", names of transformers 5 in memory") if new else ("", "")


def _facts(model: str, **pictures: object) -> dict[str, Fact]:
    """Facts that all these models share, and `pictures`: the defaults of their image processors."""
    facts = published(
        f"transformers' {model}", norm_position="pre", position="all", pos_embed="bicubic"
    )
    pictures = {"crop_mode": "squash", **pictures}
    return {**facts, **defaults(f"transformers' {model}", gelu="erf", norm_eps=1e-12, **pictures)}


def _vit(new: bool) -> Dialect:
    suffix, words = _version(new)
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    return Dialect(
        name=f"transformers-vit{suffix}",
        architecture="vit",
        title=f"transformers' ViT{words}",
        marker=_marker(new),
        bodies=("vit.", ""),
        rules=(
            *_EMBEDDINGS,
            _POSITIONS,
            qkv_rule(layer, parts),
            *_blocks(new),
            _NORM,
            renamed("classifier.{leaf}", "head.{leaf}"),
        ),
        ignored=(
            MASK_TOKEN,
            _POOLER,
            Ignore("decoder.{rest}", "the decoder of masked pre-training"),
        ),
        facts={
            **_facts("ViT", interpolation="bilinear", crop_pct=1.0),
            **published("transformers' ViT", pool="token"),
        },
        library="transformers",
        sidecar=True,
    )


def _deit(new: bool) -> Dialect:
    suffix, words = _version(new)
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    return Dialect(
        name=f"transformers-deit{suffix}",
        architecture="vit",
        title=f"transformers' DeiT{words}",
        marker="{body}embeddings.distillation_token",
        bodies=("deit.", ""),
        rules=(
            *_EMBEDDINGS,
            renamed("{body}embeddings.distillation_token", "dist_token"),
            _POSITIONS,
            qkv_rule(layer, parts),
            *_blocks(new),
            _NORM,
            renamed("cls_classifier.{leaf}", "head.{leaf}"),
            renamed("distillation_classifier.{leaf}", "head_dist.{leaf}"),
        ),
        ignored=(MASK_TOKEN, _POOLER),
        facts=_facts("DeiT", interpolation="bicubic", crop_pct=224 / 256),
        library="transformers",
        sidecar=True,
    )


def _beit(new: bool) -> Dialect:
    suffix, words = _version(new)
    layer, parts = (NEW_LAYER, NEW_QKV) if new else (OLD_LAYER, OLD_QKV)
    table = "relative_position_bias.relative_position_bias_table"
    shared = f"{{body}}encoder.{table}"
    if new:
        shared = "{body}shared_position_bias.relative_position_bias_table"
    place = layer if new else f"{layer}.attention.attention"
    biases = (f"{layer}.{parts[0]}.bias", f"{layer}.{parts[2]}.bias")
    return Dialect(
        name=f"transformers-beit{suffix}",
        architecture="vit",
        title=f"transformers' BEiT{words}",
        marker=_marker(new),
        bodies=("beit.", ""),
        rules=(
            *_EMBEDDINGS,
            _POSITIONS,
            qkv_rule(layer, parts, "weight"),
            joining(biases, "blocks.{i}.attn.qkv.bias", BIAS_WITHOUT_KEYS),
            *_blocks(new),
            renamed(f"{layer}.lambda_1", "blocks.{i}.ls1.gamma"),
            renamed(f"{layer}.lambda_2", "blocks.{i}.ls2.gamma"),
            renamed(f"{place}.{table}", "blocks.{i}.attn.relative_position_bias_table"),
            renamed(shared, "rel_pos_bias.relative_position_bias_table"),
            renamed("{body}pooler.layernorm.{leaf}", "fc_norm.{leaf}"),
            renamed("classifier.{leaf}", "head.{leaf}"),
        ),
        ignored=(
            MASK_TOKEN,
            Ignore(
                f"{place}.relative_position_bias.relative_position_index",
                "is computed from the grid",
            ),
        ),
        facts=_facts("BEiT", interpolation="bicubic", crop_pct=1.0),
        library="transformers",
        sidecar=True,
    )


TRANSFORMERS_VIT, TRANSFORMERS_VIT_5 = _vit(new=False), _vit(new=True)
TRANSFORMERS_DEIT, TRANSFORMERS_DEIT_5 = _deit(new=False), _deit(new=True)
TRANSFORMERS_BEIT, TRANSFORMERS_BEIT_5 = _beit(new=False), _beit(new=True)
