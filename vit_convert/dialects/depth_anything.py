"""Depth Anything's own names, of versions 1 and 2.

https://github.com/DepthAnything/Depth-Anything-V2 (depth_anything_v2/dpt.py) and
https://github.com/LiheYoung/Depth-Anything (depth_anything/dpt.py): a DINOv2 by its own names under
`pretrained`, and `depth_head`, whose fusion layers count from the first block that is read:
`refinenet1` is computed last.
"""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.architectures.dense.parameters import HEAD
from vit_convert.dialects.facebook import DINOV2
from vit_convert.dialects.rules import Dialect, Ignore, Rule, defaults, published, renamed

_MAPS = 4
_SOURCE = "depth_head"


def _head() -> tuple[Rule, ...]:
    scratch = f"{_SOURCE}.scratch"
    rules = [
        renamed(f"{_SOURCE}.projects.{{j}}.{{leaf}}", f"{HEAD}.project.{{j}}.{{leaf}}"),
        renamed(f"{_SOURCE}.resize_layers.{{j}}.{{leaf}}", f"{HEAD}.resize.{{j}}.{{leaf}}"),
    ]
    for j in range(_MAPS):
        layer, fusion = f"{scratch}.refinenet{_MAPS - j}", f"{HEAD}.fusion.{j}"
        rules.append(renamed(f"{scratch}.layer{j + 1}_rn.weight", f"{HEAD}.neck.{j}.weight"))
        rules.append(renamed(f"{layer}.out_conv.{{leaf}}", f"{fusion}.out.{{leaf}}"))
        rules += [
            renamed(
                f"{layer}.resConfUnit{unit}.conv{i}.{{leaf}}",
                f"{fusion}.unit{unit}.conv{i}.{{leaf}}",
            )
            for unit in ((1, 2) if j else (2,))
            for i in (1, 2)
        ]
    for i, source in enumerate(("output_conv1", "output_conv2.0", "output_conv2.2"), 1):
        rules.append(renamed(f"{scratch}.{source}.{{leaf}}", f"{HEAD}.conv{i}.{{leaf}}"))
    return tuple(rules)


DEPTH_ANYTHING: Dialect = replace(
    DINOV2,
    name="depth-anything",
    architecture="dense",
    title="Depth-Anything's own names",
    marker=f"{_SOURCE}.scratch.output_conv1.weight",
    bodies=("pretrained.",),
    rules=(*DINOV2.rules, *_head()),
    ignored=(
        DINOV2.ignored[0],
        Ignore(
            f"{_SOURCE}.scratch.refinenet{_MAPS}.resConfUnit1.{{rest}}",
            "the first fusion layer's unit for a sum before it, which there is none of",
        ),
    ),
    facts={
        **DINOV2.facts,
        **published("Depth Anything", fusion="next", readout="ignore"),
        **defaults(
            "Depth Anything",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            interpolation="bicubic",
            crop_pct=1.0,
            crop_mode="squash",
        ),
    },
    library="torch",
)
