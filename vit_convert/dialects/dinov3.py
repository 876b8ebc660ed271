"""Checkpoints of facebookresearch's DINOv3, by its own names.

https://github.com/facebookresearch/dinov3 (dinov3/models/vision_transformer.py,
dinov3/layers/{attention,ffn_layers,rope_position_encoding}.py), and timm's filter for them.
"""

from __future__ import annotations

import numpy as np

from vit_convert.architectures import Fact
from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects.attention_transforms import MASKED_KEY_BIAS
from vit_convert.dialects.rules import (
    Dialect,
    Ignore,
    defaults,
    joining,
    published,
    renamed,
    same,
    under,
)
from vit_convert.dialects.transforms import MisfitError

_PLAIN, _SWIGLU = ("mlp", "plain"), ("mlp", "swiglu")
# relative: half a unit in the last place, to which Meta's files round periods, and float32's errors
_BFLOAT16, _FLOAT32 = 2.0**-8, 1e-5
_TRAINING = "for training only"


def _periods(tensor: LazyTensor) -> dict[str, Fact]:
    """The base and the width of a head, of the periods base ** (i / count), i = 0, 1, ...

    Raises:
        MisfitError: they are those of no base.
    """
    stored = np.asarray(tensor.read(), np.float32)
    periods, count = stored.astype(np.float64), stored.size
    facts = {"head_dim": Fact(4 * count, "read", f"from the shape of {tensor.name}")}
    if count < 2:
        return facts
    if periods.ndim == 1 and np.isfinite(periods).all() and (periods > 0).all():
        rounded = not (np.ascontiguousarray(stored).view(np.uint32) & 0xFFFF).any()
        nearly = periods[-1] ** (count / (count - 1))
        for digits in range(1, 8):  # the base was written by people: the shortest that fits
            base = float(f"{nearly:.{digits}g}")
            expected = base ** (np.arange(count) / count)
            if np.abs(periods / expected - 1).max() <= (_BFLOAT16 if rounded else _FLOAT32):
                sure = not rounded or base == PUBLISHED_BASES["dinov3"]
                why = f"from {tensor.name}{', which is rounded' if rounded else ''}"
                return facts | {"rotary_base": Fact(base, "read" if sure else "assumed", why)}
    raise MisfitError("has periods that are no powers of a base, as DINOv3's are")


DINOV3 = Dialect(
    name="dinov3",
    architecture="vit",
    title="DINOv3's own names",
    marker="{body}storage_tokens",
    bodies=("", "backbone.", "teacher.backbone.", "student.backbone."),
    rules=under(
        "{body}",
        (
            *same(
                "cls_token",
                "patch_embed.proj.{leaf}",
                *(
                    f"blocks.{{i}}.{name}"
                    for name in (
                        "norm1.{leaf}",
                        "attn.qkv.weight",
                        "attn.proj.{leaf}",
                        "ls1.gamma",
                        "norm2.{leaf}",
                        "ls2.gamma",
                    )
                ),
                "norm.{leaf}",
            ),
            renamed("storage_tokens", "reg_token"),
            joining(
                ("blocks.{i}.attn.qkv.bias", "blocks.{i}.attn.qkv.bias_mask"),
                "blocks.{i}.attn.qkv.bias",
                MASKED_KEY_BIAS,
            ),
            *(
                renamed(f"blocks.{{i}}.mlp.{a}.{{leaf}}", f"blocks.{{i}}.mlp.{b}.{{leaf}}", when=w)
                for a, b, w in (
                    ("fc1", "fc1", _PLAIN),
                    ("fc2", "fc2", _PLAIN),
                    ("w1", "fc1_g", _SWIGLU),
                    ("w2", "fc1_x", _SWIGLU),
                    ("w3", "fc2", _SWIGLU),
                )
            ),
        ),
    ),
    ignored=(
        Ignore("{body}mask_token", "stands for masked patches in pre-training only"),
        Ignore(
            "{body}rope_embed.periods",
            "is computed from its base, not rounded, as timm and transformers do",
            tells=_periods,
        ),
        Ignore("{body}local_cls_norm.{leaf}", f"the norm of local crops, {_TRAINING}"),
        Ignore("dino_head.{rest}", f"DINO's projection head, {_TRAINING}"),
        Ignore("ibot_head.{rest}", f"iBOT's projection head, {_TRAINING}"),
    ),
    facts={
        **published("DINOv3", gelu="erf", norm_position="pre", pool="token", rotary="dinov3"),
        **defaults(  # the epsilon of its "layernorm" is 1e-6, that of all its models 1e-5
            "DINOv3",
            norm_eps=1e-5,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            interpolation="bicubic",
            crop_pct=224 / 256,
        ),
    },
    rotary=("dinov3",),
)
