"""Linear heads for segmentation on DINOv2.

DINOv2's own (https://github.com/facebookresearch/dinov2, dinov2/eval/segmentation/models/
decode_heads/linear_head.py) are mmsegmentation's `decode_head`, with batch normalisation before a
convolution of 1 x 1, beside a `backbone` by DINOv2's own names. On transformers' `Dinov2Model` it
is a convolution alone, `classifier.classifier`, as in the notebook by which most such models are
trained (https://github.com/NielsRogge/Transformers-Tutorials, DINOv2).
"""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures.dense.parameters import HEAD
from vit_convert.architectures.parameters import BATCH_NORM
from vit_convert.dialects.facebook import DINOV2
from vit_convert.dialects.rules import Dialect, Ignore, defaults, renamed
from vit_convert.dialects.transformers_dinov2 import TRANSFORMERS_DINOV2, TRANSFORMERS_DINOV2_5

DINOV2_SEGMENTATION: Dialect = replace(
    DINOV2,
    name="dinov2-segmentation",
    architecture="dense",
    title="DINOv2's own names, with a linear head for segmentation",
    marker="decode_head.conv_seg.weight",
    bodies=("backbone.",),
    rules=(
        *DINOV2.rules,
        *(renamed(f"decode_head.bn.{leaf}", f"{HEAD}.norm.{leaf}") for leaf in BATCH_NORM),
        renamed("decode_head.conv_seg.{leaf}", f"{HEAD}.classes.{{leaf}}"),
    ),
    ignored=(
        DINOV2.ignored[0],
        Ignore("decode_head.bn.num_batches_tracked", "counts the batches of training"),
    ),
    facts={**DINOV2.facts, **defaults("DINOv2", crop_pct=1.0, crop_mode="squash")},
)


def _transformers(table: Dialect) -> Dialect:
    new = table is TRANSFORMERS_DINOV2_5
    title = "transformers' DINOv2 with a linear head for segmentation"
    return replace(
        table,
        name=f"transformers-dinov2-segmentation{'-5' if new else ''}",
        architecture="dense",
        title=f"{title}{', names of transformers 5 in memory' if new else ''}",
        marker="classifier.classifier.weight",
        bodies=("dinov2.", "backbone."),
        rules=(
            *(rule for rule in table.rules if not rule.targets[0].startswith("head.")),
            renamed("classifier.classifier.{leaf}", f"{HEAD}.classes.{{leaf}}"),
        ),
        ignored=table.ignored[:1],
        facts={**table.facts, **defaults("DINOv2", crop_pct=1.0, crop_mode="squash")},
    )


LINEAR_SEGMENTATION: tuple[Dialect, ...] = (
    DINOV2_SEGMENTATION,
    _transformers(TRANSFORMERS_DINOV2),
    _transformers(TRANSFORMERS_DINOV2_5),
)
