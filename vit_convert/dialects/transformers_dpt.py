"""Hugging Face transformers' models for depth: `DPTForDepthEstimation` on its own ViT or on a
DINOv2 backbone, and `DepthAnythingForDepthEstimation`.

https://github.com/huggingface/transformers, models/dpt and models/depth_anything. The backbone's
names are those of transformers' ViT and DINOv2; what stands behind it is `neck` and `head`.
"""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.architectures.dense.parameters import HEAD
from vit_convert.architectures.parameters import BATCH_NORM
from vit_convert.dialects.rules import Dialect, Ignore, Rule, defaults, published, renamed
from vit_convert.dialects.transformers_dinov2 import TRANSFORMERS_DINOV2, TRANSFORMERS_DINOV2_5
from vit_convert.dialects.transformers_vit import TRANSFORMERS_VIT

_STAGE, _FUSION = "neck.reassemble_stage", "neck.fusion_stage.layers"
_UNUSED_UNIT = "the first fusion layer's unit for a sum before it, which there is none of"
_COUNTED = "counts the batches of training"
# DPT's three convolutions stand between an upsampling and activations
_DPT_HEAD = ("head.head.0", "head.head.2", "head.head.4")
_DEPTH_ANYTHING_HEAD = ("head.conv1", "head.conv2", "head.conv3")
_LAYERS = 8  # more than any published head has


def _unit(source: str, target: str) -> tuple[Rule, ...]:
    return (
        *(renamed(f"{source}.convolution{i}.{{leaf}}", f"{target}.conv{i}.{{leaf}}") for i in "12"),
        *(
            renamed(f"{source}.batch_norm{i}.{leaf}", f"{target}.norm{i}.{leaf}")
            for i in "12"
            for leaf in BATCH_NORM
        ),
    )


def _head(last: tuple[str, ...]) -> tuple[Rule, ...]:
    maps, layer = f"{_STAGE}.layers.{{j}}", f"{_FUSION}.{{j}}"
    fusion = f"{HEAD}.fusion.{{j}}"
    return (
        renamed(f"{_STAGE}.readout_projects.{{j}}.0.{{leaf}}", f"{HEAD}.readout.{{j}}.{{leaf}}"),
        renamed(f"{maps}.projection.{{leaf}}", f"{HEAD}.project.{{j}}.{{leaf}}"),
        renamed(f"{maps}.resize.{{leaf}}", f"{HEAD}.resize.{{j}}.{{leaf}}"),
        renamed("neck.convs.{j}.weight", f"{HEAD}.neck.{{j}}.weight"),
        # the first layer's first unit is left out, so that the others are named one by one
        *(
            rule
            for j in range(1, _LAYERS)
            for rule in _unit(f"{_FUSION}.{j}.residual_layer1", f"{HEAD}.fusion.{j}.unit1")
        ),
        *_unit(f"{layer}.residual_layer2", f"{fusion}.unit2"),
        renamed(f"{layer}.projection.{{leaf}}", f"{fusion}.out.{{leaf}}"),
        renamed("head.projection.{leaf}", f"{HEAD}.projection.{{leaf}}"),
        *(renamed(f"{s}.{{leaf}}", f"{HEAD}.conv{i}.{{leaf}}") for i, s in enumerate(last, 1)),
    )


_UNUSED_PARTS = (
    Ignore(f"{_FUSION}.0.residual_layer1.{{rest}}", _UNUSED_UNIT),
    *(
        Ignore(f"{_FUSION}.{{j}}.residual_layer{unit}.batch_norm{i}.num_batches_tracked", _COUNTED)
        for unit, i in ((2, 1), (2, 2))
    ),
    *(
        Ignore(f"{_FUSION}.{j}.residual_layer1.batch_norm{i}.num_batches_tracked", _COUNTED)
        for j in range(1, _LAYERS)
        for i in (1, 2)
    ),
)
_PICTURES = {
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "squash",
}


_HALVES = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # Intel's DPT


def _backbone(table: Dialect) -> tuple[Rule, ...]:
    """The rules of a backbone: all but those of a classifier."""
    return tuple(rule for rule in table.rules if not rule.targets[0].startswith("head."))


def _on_dinov2(table: Dialect, name: str, title: str, last: tuple[str, ...]) -> Dialect:
    new = table is TRANSFORMERS_DINOV2_5
    anything = last is _DEPTH_ANYTHING_HEAD
    facts = {
        **table.facts,
        **published(f"transformers' {title}", fusion="next" if anything else "double"),
        **defaults(f"transformers' {title}", **_PICTURES),
    }
    if anything:
        facts |= published(f"transformers' {title}", readout="ignore")
    else:
        facts |= published(f"transformers' {title}", depth_activation="relu", max_depth=1.0)
    return replace(
        table,
        name=f"transformers-{name}{'-5' if new else ''}",
        architecture="dense",
        title=f"transformers' {title}{', names of transformers 5 in memory' if new else ''}",
        marker=f"{last[0]}.weight",
        bodies=("backbone.",),
        rules=(*_backbone(table), *_head(last)),
        ignored=(*table.ignored[:1], *_UNUSED_PARTS),
        facts=facts,
    )


def _dpt() -> Dialect:
    """On its own ViT, whose last norm the head does not read."""
    table = TRANSFORMERS_VIT
    rules = (rule for rule in _backbone(table) if rule.targets[0] != "norm.{leaf}")
    return replace(
        table,
        name="transformers-dpt",
        architecture="dense",
        title="transformers' DPT",
        marker="head.head.0.weight",
        bodies=("dpt.",),
        rules=(*rules, *_head(_DPT_HEAD)),
        ignored=(
            Ignore("{body}layernorm.{leaf}", "the norm of the last block, which no head reads"),
            Ignore("{body}pooler.dense.{leaf}", "the pooler's layer, which no head reads"),
            *_UNUSED_PARTS,
        ),
        facts={
            **table.facts,
            **published(
                "transformers' DPT",
                fusion="double",
                pos_embed="bilinear",
                depth_activation="relu",
                max_depth=1.0,
            ),
            **defaults("transformers' DPT", **_PICTURES | _HALVES),
        },
    )


_BACKBONES = (TRANSFORMERS_DINOV2, TRANSFORMERS_DINOV2_5)
TRANSFORMERS_DEPTH: tuple[Dialect, ...] = (
    _dpt(),
    *(_on_dinov2(table, "dpt-dinov2", "DPT on DINOv2", _DPT_HEAD) for table in _BACKBONES),
    *(
        _on_dinov2(table, "depth-anything", "Depth Anything", _DEPTH_ANYTHING_HEAD)
        for table in _BACKBONES
    ),
)
