"""bubbliiiing's classification-pytorch, whose `vit-patch_16.pth` has timm's names.

https://github.com/bubbliiiing/classification-pytorch, nets/vision_transformer.py: GELU by its tanh
approximation, dropout 0.1, and a position embedding that is always stored for 224 pixels and
resampled by plain bicubic interpolation. Names and shapes are those of timm's vit_base_patch16_224,
so that only the file's name, or `--dialect`, tells it.
"""

from __future__ import annotations

from vit_convert.architectures import Fact
from vit_convert.dialects.rules import Dialect
from vit_convert.dialects.timm import TIMM_VIT

_WHY = "as in bubbliiiing's vit-patch_16.pth, by the file's name"
_VALUES = {
    "gelu": "tanh",
    "norm_eps": 1e-6,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "crop_pct": 1.0,
    "pool": "token",
    "pos_embed": "bicubic",
    "drop_rate": 0.1,
    "attn_drop_rate": 0.1,
    "drop_path_rate": 0.1,
}

BUBBLIIIING = Dialect(
    name="bubbliiiing",
    architecture="vit",
    title="bubbliiiing's classification-pytorch",
    marker=TIMM_VIT.marker,
    rules=TIMM_VIT.rules,
    ignored=TIMM_VIT.ignored,
    facts={name: Fact(value, "assumed", _WHY) for name, value in _VALUES.items()},
    stem="vit-patch_16",
)
