"""How published Vision Transformers are written down, in vit_variants.py and its like."""

from __future__ import annotations

from typing import Any

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Variant
from vit_convert.architectures.vit.config import ViTConfig

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]

INCEPTION: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET: Normalisation = (IMAGENET_MEAN, IMAGENET_STD)
# arXiv:2103.00020, openai/CLIP
CLIP: Normalisation = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)


def variant_of(
    name: str,
    source: str,
    sizes: tuple[int, int, int, int],
    patch: int,
    image: int,
    normalisation: Normalisation,
    crop_pct: float,
    **options: Any,
) -> Variant:
    """`sizes`: width, depth, heads, MLP width."""
    width, depth, heads, mlp = sizes
    config = ViTConfig(
        image_size=(image, image),
        patch_size=(patch, patch),
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_dim=mlp,
        **options,
    )
    mean, std = normalisation
    return Variant(name, config, Preprocessing(mean, std, "bicubic", crop_pct), source)
