"""The published CaiTs, by timm's names (table 1 and section 5.1 of arXiv:2103.17239)."""

from __future__ import annotations

from vit_convert.architectures.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    Variant,
)
from vit_convert.architectures.cait.config import CaiTConfig

PREPROCESSING = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, "bicubic", 1.0)
_SIZES = {  # width, depth, heads: table 1 of arXiv:2103.17239
    "xxs24": (192, 24, 4),
    "xxs36": (192, 36, 4),
    "xs24": (288, 24, 6),
    "s24": (384, 24, 8),
    "s36": (384, 36, 8),
    "m36": (768, 36, 16),
    "m48": (768, 48, 16),
}

# timm's names; the published resolutions are 224 and 384, and 448 for M48 (arXiv:2103.17239, 5.1)
VARIANTS: tuple[Variant, ...] = tuple(
    Variant(
        f"cait_{size}_{image}",
        CaiTConfig(
            image_size=(image, image),
            patch_size=(16, 16),
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_dim=4 * width,
            mlp_dim_token_only=4 * width,
        ),
        PREPROCESSING,
        "arXiv:2103.17239",
    )
    for size, (width, depth, heads) in _SIZES.items()
    for image in (224, 384, 448)
)
